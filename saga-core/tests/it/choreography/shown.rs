use saga_core::choreography::{About, Graph};
use serde_json::json;

use super::cast::{BOASTING, SOUND, UNDECLARED};
use super::{library, seen};

#[test]
fn the_picture_tells_ways_forward_refusals_and_ways_back_apart() {
    let picture = library::<SOUND, SOUND>().mermaid(&seen::<SOUND, SOUND>());
    let wanted = r##"flowchart LR
    subgraph group_desk[" "]
    it_desk["<b>desk</b>"]:::participant
    desk_timer(["timer: deadline"]):::timer
    end
    class group_desk group
    it_shelf["<b>shelf</b>"]:::participant
    observers(["observers"]):::outside
    from_a_reader(["a reader"]):::outside
    from_a_reader -->|"lend"| it_desk
    it_desk -->|"loan.lent"| observers
    it_desk -->|"loan.requested"| it_shelf
    it_desk -->|"loan.withdrawn"| it_shelf
    it_shelf -->|"copy.back"| observers
    it_shelf -->|"copy.held"| it_desk
    it_shelf -->|"copy.short"| it_desk
    linkStyle 6 stroke:#d08a1d
    linkStyle 3,4 stroke:#d04437,stroke-dasharray:6 4
"##;
    assert!(picture.starts_with(wanted), "{picture}");
}

#[test]
fn the_tables_say_what_happens_on_what() {
    let tables = library::<SOUND, SOUND>().tables(&seen::<SOUND, SOUND>());
    for line in [
        "### desk",
        "| command `lend` of a reader | `loan.requested`, sets `deadline` | – |",
        "| `copy.short` | cancels `deadline` | `loan.requested` |",
        "| timer `deadline` fires | `loan.withdrawn` | `loan.requested` |",
        "| `loan.requested` | `copy.held`, `copy.short` (no) | – |",
    ] {
        assert!(tables.lines().any(|found| found == line), "{line}\n{tables}");
    }
}

#[test]
fn the_graph_is_data() {
    let graph = library::<SOUND, SOUND>().graph(&seen::<SOUND, SOUND>());
    let json = serde_json::to_value(&graph).expect("it is JSON");
    assert_eq!(json["participants"][0]["steps"][0]["on"]["from"], "a reader");
    let back = &json["events"][5];
    assert_eq!(back["name"], "copy.back");
    assert_eq!(back["backward"], true);
    assert_eq!(back["for_observers"], "whoever sorts the shelves");
    assert_eq!(json["events"][0]["heard_by"][0], "shelf");
}

#[test]
fn the_graph_is_a_format_that_others_read() {
    let graph = library::<SOUND, SOUND>().graph(&seen::<SOUND, SOUND>());
    let text = graph.json();
    assert!(
        text.starts_with("{\n  \"format\": \"quadrille-choreography/1\",\n"),
        "{text}"
    );
    assert_eq!(
        serde_json::from_str::<Graph>(&text).expect("it reads what it wrote"),
        graph
    );

    let json: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let lend = json!({"kind": "command", "name": "lend", "from": "a reader"});
    assert_eq!(json["timers"][0]["set_on"], json!([lend]));
    assert_eq!(json["timers"][0]["cancelled_on"][0]["kind"], "event");
    let undone = &json["compensations"][0];
    assert_eq!(
        (&undone["participant"], &undone["undoes"]),
        (&json!("desk"), &json!("loan.requested"))
    );
    let edge = &json["edges"][0];
    assert_eq!(edge["on"], lend);
    assert_eq!(edge["puts_out"]["name"], "loan.requested");
    assert_eq!(edge["to"], json!(["shelf"]));
    for edge in json["edges"].as_array().expect("edges") {
        assert_eq!(
            (&edge["declared"], &edge["observed"]),
            (&json!(true), &json!(true)),
            "{edge}"
        );
    }
}

#[test]
fn an_edge_says_whether_it_is_declared_and_whether_it_happens() {
    let apart = |graph: Graph| -> Vec<(String, bool, bool)> {
        let edges = graph.edges.iter();
        let apart = edges.filter(|edge| edge.declared != edge.observed);
        apart
            .map(|edge| {
                let what = format!("{}: {:?} → {:?}", edge.participant, edge.on, edge.puts_out);
                (what, edge.declared, edge.observed)
            })
            .collect()
    };
    let boasting = apart(library::<BOASTING, SOUND>().graph(&seen::<BOASTING, SOUND>()));
    assert!(
        matches!(&boasting[..], [(edge, true, false)] if edge.contains("loan.withdrawn")),
        "{boasting:?}"
    );
    let undeclared = apart(library::<SOUND, UNDECLARED>().graph(&seen::<SOUND, UNDECLARED>()));
    assert!(
        matches!(&undeclared[..], [(edge, false, true)] if edge.contains("copy.short")),
        "{undeclared:?}"
    );
}

#[test]
fn the_document_has_channels_messages_and_operations() {
    let about = About {
        title: "Library",
        version: "1.0.0",
        description: "Who lends what.",
        schema: |name, version| format!("schemas/{name}-v{version}.json"),
    };
    let document = library::<SOUND, SOUND>().asyncapi(&about);
    assert_eq!(document["asyncapi"], "3.0.0");
    let channel = &document["channels"]["shelf-events"];
    assert_eq!(channel["bindings"]["kafka"]["partitions"], 12);
    assert_eq!(
        channel["messages"]["copy.held"]["$ref"],
        "#/components/messages/copy.held"
    );
    let sends = &document["operations"]["desk-sends-desk-events"];
    assert_eq!(sends["action"], "send");
    assert_eq!(
        sends["messages"][1]["$ref"],
        "#/channels/desk-events/messages/loan.withdrawn"
    );
    let receives = &document["operations"]["desk-receives-shelf-events"];
    assert_eq!(receives["messages"].as_array().map(Vec::len), Some(2));
    let message = &document["components"]["messages"]["copy.short"];
    assert_eq!(message["payload"]["schema"]["$ref"], "schemas/copy.short-v1.json");
    assert_eq!(message["tags"][0]["name"], "refusal");
    assert_eq!(message["bindings"]["kafka"]["key"]["description"], "loan");
    let headers = &document["components"]["messageTraits"]["cloudevent"]["headers"];
    assert!(headers["properties"]["ce_type"].is_object());
}

#[test]
fn nothing_depends_on_the_run() {
    let (one, two) = (seen::<SOUND, SOUND>(), seen::<SOUND, SOUND>());
    assert_eq!(one, two);
    assert_eq!(
        library::<SOUND, SOUND>().mermaid(&one),
        library::<SOUND, SOUND>().mermaid(&two)
    );
}
