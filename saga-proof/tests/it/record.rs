use saga_core::replay::{Replay, Told};
use saga_proof::Recorded;
use serde_json::json;

use super::question::{Answer, Answerer, AnswererIn, Mistake};

/// It should be what is asked, the first thing that the answerer hears.
impl Replay for Answerer {
    const BEGINS: &'static str = "library.opened";

    fn unrecorded(&self, _: &String, _: &Answer, _: &[Told]) -> Vec<AnswererIn> {
        Vec::new()
    }
}

#[test]
fn who_begins_with_what_it_never_hears_is_told_so() {
    let folder = std::env::temp_dir().join(format!("quadrille-begins-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let asked = json!({
        "topic": "question-events", "partition": 0, "offset": 0, "key": "q", "payload": {"id": "q"},
        "headers": {"ce_id": "616a42c0-cbd0-5b1c-ad2a-4f83d723e3a1", "ce_type": "question.asked"},
    });
    std::fs::write(folder.join("walked.jsonl"), format!("{asked}\n")).expect("a file");
    let recorded = Recorded::in_folder(&folder).expect("it is there");
    let answerer = Answerer {
        mistake: Mistake::None,
    };
    let nothing = recorded.replay(&answerer).expect_err("nothing was replayed");
    assert!(
        nothing
            .to_string()
            .contains("none of the 1 sagas that it hears or tells of has its library.opened"),
        "{nothing}"
    );
    std::fs::remove_dir_all(&folder).expect("it was there");
}
