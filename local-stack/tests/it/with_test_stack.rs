use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use local_stack::{KAFKA_VARIABLE, POSTGRES_VARIABLE, probe};

use crate::eventually;

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_local-stack"));
    command.args(["with-test-stack", "--"]);
    command
}

fn with_servers_given() -> Command {
    let mut command = program();
    command
        .env(POSTGRES_VARIABLE, "postgres://given")
        .env(KAFKA_VARIABLE, "given:9092");
    command
}

#[test]
fn servers_that_are_given_are_passed_on() -> anyhow::Result<()> {
    let script = format!("echo ${POSTGRES_VARIABLE} ${KAFKA_VARIABLE}");
    let output = with_servers_given().args(["sh", "-c", &script]).output()?;
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout)?, "postgres://given given:9092\n");
    Ok(())
}

#[test]
fn the_exit_code_is_that_of_the_command() -> anyhow::Result<()> {
    assert_eq!(
        with_servers_given().args(["sh", "-c", "exit 7"]).status()?.code(),
        Some(7)
    );
    assert_eq!(
        with_servers_given()
            .args(["sh", "-c", "kill -9 $$"])
            .status()?
            .code(),
        Some(128 + 9)
    );
    Ok(())
}

#[test]
fn nothing_stays_behind_when_it_is_killed() -> anyhow::Result<()> {
    let script = format!("echo ${KAFKA_VARIABLE}; echo ${POSTGRES_VARIABLE}; exec cat");
    let mut stack = program()
        .args(["sh", "-c", &script])
        .env_remove(POSTGRES_VARIABLE)
        .env_remove(KAFKA_VARIABLE)
        // `cat` ends when we let go of this.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(stack.stdout.take().unwrap()).lines();
    let kafka = lines.next().unwrap()?;
    let url = lines.next().unwrap()?;
    let postgres = url.split(['@', '/']).nth(3).unwrap();
    let said = BufReader::new(stack.stderr.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let dir = said
        .filter_map(|line| Some(line.split_once("data in ")?.1.to_owned()))
        .next()
        .unwrap();
    assert!(Path::new(&dir).is_dir(), "{dir} is not there");
    assert_eq!(probe::kafka(&kafka), Ok(()));
    assert_eq!(probe::postgres(postgres), Ok(()));

    let stdin = stack.stdin.take();
    stack.kill()?;
    stack.wait()?;
    eventually("the servers' data is removed", || !Path::new(&dir).exists());
    assert!(probe::kafka(&kafka).is_err(), "the broker survived");
    assert!(probe::postgres(postgres).is_err(), "the database survived");
    drop(stdin);
    Ok(())
}
