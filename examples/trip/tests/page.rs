//! What the page of the proof says of it: how many lines it has, and how they read.

const PAGE: &str = include_str!("../../../docs/prove-your-saga.md");
const PROOF: &str = include_str!("proof.rs");
const CERTIFICATE: &str = include_str!("certificate.rs");

/// Lines that are neither blank nor a comment.
fn lines_of_code(text: &str) -> usize {
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .count()
}

#[test]
fn the_whole_proof_has_less_than_a_hundred_lines_and_the_page_says_how_many() {
    let [proof, certificate] = [PROOF, CERTIFICATE].map(lines_of_code);
    let both = proof + certificate;
    assert!(
        both < 100,
        "proof.rs and certificate.rs have {both} lines of code; let saga-proof do more, the page promises less than a hundred"
    );
    for said in [
        format!("All of it is {both} lines of test code"),
        format!("tests/proof.rs) has {proof} lines"),
        format!("tests/certificate.rs) has {certificate} lines"),
    ] {
        assert!(PAGE.contains(&said), "docs/prove-your-saga.md has to say: {said}");
    }
}

#[test]
fn each_snippet_of_the_page_stands_in_the_proof() {
    let snippets = PAGE.split("```rust\n").skip(1);
    let snippets: Vec<&str> = snippets.filter_map(|rest| rest.split("```").next()).collect();
    assert!(!snippets.is_empty(), "docs/prove-your-saga.md shows nothing");
    for snippet in snippets {
        assert!(
            PROOF.contains(snippet) || CERTIFICATE.contains(snippet),
            "this is in docs/prove-your-saga.md, and in neither proof.rs nor certificate.rs:\n{snippet}"
        );
    }
}
