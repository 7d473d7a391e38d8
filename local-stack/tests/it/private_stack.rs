use local_stack::{TestStack, probe};

use crate::eventually_is;

#[test]
fn servers_survive_what_failure_tests_do_to_them() -> anyhow::Result<()> {
    let stack = TestStack::private()?;
    let (postgres, kafka) = (stack.postgres(), stack.kafka());
    let before = stack.addresses();

    for _ in 0..2 {
        postgres.stop_immediately()?;
        assert!(
            probe::postgres(&postgres.address()).is_err(),
            "stopped, and yet it answers"
        );
        postgres.start()?;
    }
    postgres.kill()?;
    postgres.start()?;
    postgres.stop()?;
    postgres.start()?;
    eventually_is(Ok(()), || probe::postgres(&postgres.address()));

    kafka.kill()?;
    assert!(
        probe::kafka(&kafka.brokers()).is_err(),
        "killed, and yet it answers"
    );
    kafka.start()?;
    kafka.stop()?;
    kafka.start()?;
    eventually_is(Ok(()), || probe::kafka(&kafka.brokers()));

    postgres.pause();
    kafka.pause();
    let silent = Err("it listens but does not answer".to_owned());
    eventually_is(silent.clone(), || probe::postgres(&postgres.address()));
    eventually_is(silent, || probe::kafka(&kafka.brokers()));
    postgres.resume();
    kafka.resume();
    eventually_is(Ok(()), || probe::postgres(&postgres.address()));
    eventually_is(Ok(()), || probe::kafka(&kafka.brokers()));

    let after = stack.addresses();
    assert_eq!(before.postgres_admin_url, after.postgres_admin_url);
    assert_eq!(before.kafka_brokers, after.kafka_brokers);

    // A frozen server must not keep a stack from ending.
    postgres.pause();
    kafka.pause();
    let dir = stack.dir().to_owned();
    drop(stack);
    assert!(!dir.exists(), "{} is still there", dir.display());
    Ok(())
}
