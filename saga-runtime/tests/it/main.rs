//! The engine on a real PostgreSQL and a real Apache Kafka.

#[test]
fn every_statement_has_a_name_of_its_own() {
    let mut names: Vec<_> = saga_runtime::statements()
        .map(|(module, name, _)| (module, name))
        .collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}
