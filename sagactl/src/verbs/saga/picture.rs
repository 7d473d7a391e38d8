use chrono::TimeDelta;

use super::story::{Node, Story};
use crate::moment;

/// The saga as an indented tree of cause and effect, times relative to its beginning.
pub(crate) fn picture(story: &Story) -> String {
    let mut lines = Vec::new();
    for root in story.roots() {
        draw(story, root, "", "", &mut lines);
    }
    let widest = |text: fn(&Line) -> &str| {
        lines
            .iter()
            .map(|line| text(line).chars().count())
            .max()
            .unwrap_or(0)
    };
    let (tree, source, place) = (
        widest(|line| &line.tree),
        widest(|line| &line.source),
        widest(|line| &line.place),
    );
    let body = lines.iter().map(|line| {
        format!(
            "{:>10}  {:<tree$}  {:<source$}  {:<place$}  {}",
            line.time, line.tree, line.source, line.place, line.via
        )
        .trim_end()
        .to_owned()
    });
    std::iter::once(head(story))
        .chain(body)
        .collect::<Vec<_>>()
        .join("\n")
}

struct Line {
    time: String,
    tree: String,
    source: String,
    place: String,
    via: String,
}

fn head(story: &Story) -> String {
    let times = || story.events.iter().filter_map(|node| node.event.at);
    let took = times().max().zip(times().min()).map(|(last, first)| last - first);
    let mut head = format!(
        "saga {}  {}  {} events in {}",
        story.saga,
        story.standing().unwrap_or("(no event of the order)"),
        story.events.len(),
        moment::after(took.unwrap_or_else(TimeDelta::zero)).trim_start_matches('+')
    );
    if let Some(trace) = story.trace_id() {
        head.push_str(&format!("\ntrace {trace}"));
    }
    head
}

/// `own` stands before this node's name, `below` before those of its children.
fn draw(story: &Story, node: &Node, own: &str, below: &str, lines: &mut Vec<Line>) {
    let event = &node.event;
    let time = event
        .at
        .zip(story.began_at())
        .map_or_else(|| "-".to_owned(), |(at, began)| moment::after(at - began));
    let place = match event.position {
        Some(position) => format!("{} #{position}", event.place),
        None => event.place.clone(),
    };
    lines.push(Line {
        time,
        tree: format!("{own}{}", event.name),
        source: event.source.clone(),
        place,
        via: node
            .via
            .as_ref()
            .map(|via| format!("← {via}"))
            .unwrap_or_default(),
    });
    // A loop of causes cannot be derived, and a picture must not hang on a forged one.
    if lines.len() > story.events.len() {
        return;
    }
    let children = story.children(event.id);
    for (n, child) in children.iter().enumerate() {
        let (corner, bar) = if n + 1 < children.len() {
            ("├─ ", "│  ")
        } else {
            ("└─ ", "   ")
        };
        draw(
            story,
            child,
            &format!("{below}{corner}"),
            &format!("{below}{bar}"),
            lines,
        );
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use saga_core::id::{of_outcome, of_output};
    use uuid::Uuid;

    use super::super::story::Event;
    use super::*;

    fn event(n: u128, name: &str, source: &str, ms: i64, cause: Uuid) -> Event {
        Event {
            id: Uuid::from_u128(n),
            name: name.to_owned(),
            source: source.to_owned(),
            at: DateTime::from_timestamp_millis(1_785_585_600_000 + ms),
            published_at: None,
            causation: Some(cause.to_string()),
            traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
            sequence: None,
            position: u64::try_from(n).ok(),
            place: format!("{}-events/3@{n}", name.split('.').next().unwrap_or_default()),
            data: None,
            note: None,
        }
    }

    #[test]
    fn a_saga_is_a_tree_of_causes() {
        let id = Uuid::from_u128;
        let charged = of_outcome(of_output("payment", "o-1", id(2), "charge", 0), 1);
        let story = Story::of(
            "o-1",
            vec![
                event(5, "order.confirmed", "order", 52, id(4)),
                event(1, "order.created", "order", 0, id(99)),
                event(2, "stock.reserved", "inventory", 14, id(1)),
                event(3, "payment.created", "payment", 20, id(2)),
                event(4, "payment.succeeded", "payment", 41, charged),
                event(6, "stock.committed", "inventory", 60, id(5)),
            ],
        );
        let expected = "\
saga o-1  order.confirmed  6 events in 0.060 s
trace 4bf92f3577b34da6a3ce929d0e0e4736
  +0.000 s  order.created                     order      order-events/3@1 #1    ← PlaceOrder
  +0.014 s  └─ stock.reserved                 inventory  stock-events/3@2 #2
  +0.020 s     ├─ payment.created             payment    payment-events/3@3 #3
  +0.041 s     └─ payment.succeeded           payment    payment-events/3@4 #4  ← charge answered
  +0.052 s        └─ order.confirmed          order      order-events/3@5 #5
  +0.060 s           └─ stock.committed       inventory  stock-events/3@6 #6";
        // The columns are as wide as they must be.
        let squeeze = |text: &str| {
            text.lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect::<Vec<_>>()
        };
        let drawn = picture(&story);
        assert_eq!(squeeze(&drawn), squeeze(expected), "\n{drawn}");
        let tree = |line: &str| line.find("stock.committed");
        assert!(drawn.lines().all(|line| line.chars().count() <= 100), "\n{drawn}");
        assert_eq!(
            drawn.lines().last().and_then(tree),
            expected.lines().last().and_then(tree),
            "\n{drawn}"
        );
    }

    #[test]
    fn a_loop_of_causes_does_not_hang() {
        let id = Uuid::from_u128;
        let story = Story::of(
            "o-1",
            vec![
                event(1, "order.created", "order", 0, id(9)),
                event(2, "stock.reserved", "inventory", 1, id(2)),
            ],
        );
        assert!(picture(&story).contains("order.created"));
    }
}
