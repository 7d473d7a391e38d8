use std::fmt::Display;
use std::io::IsTerminal as _;

use chrono::TimeDelta;

use crate::{moment, screen};

/// Where the demo is played: a terminal, 100 columns wide.
pub(super) struct Stage {
    colours: bool,
}

const WIDTH: usize = 96;

#[derive(Clone, Copy)]
enum Ink {
    Bold,
    Dim,
    Green,
    Red,
    Yellow,
}

impl Stage {
    /// Colours only where somebody sees them (and <https://no-color.org>).
    pub(super) fn new() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            colours: std::io::stdout().is_terminal() && !unwanted,
        }
    }

    pub(super) fn title(&self, text: &str) {
        let line = "─".repeat(WIDTH.saturating_sub(text.chars().count() + 4));
        screen::say(format!(
            "\n{}",
            self.paint(Ink::Bold, format!("── {text} {line}"))
        ));
    }

    pub(super) fn tell(&self, text: impl Display) {
        screen::say(text);
    }

    /// Something that is done to the stack.
    pub(super) fn act(&self, text: impl Display) {
        screen::say(self.paint(Ink::Yellow, format!("  ! {text}")));
    }

    /// An event, as it comes.
    pub(super) fn event(&self, after: TimeDelta, name: &str, source: &str) {
        screen::say(format!(
            "  {:>10}  {name:<18} {source:<10} {}",
            moment::after(after),
            self.paint(Ink::Dim, meaning(name))
        ));
    }

    pub(super) fn check(&self, good: bool, text: impl Display) {
        let mark = if good {
            self.paint(Ink::Green, "✓")
        } else {
            self.paint(Ink::Red, "✗")
        };
        screen::say(format!("  {mark} {text}"));
    }

    pub(super) fn picture(&self, text: &str) {
        screen::say(format!("\n{text}"));
    }

    pub(super) fn end(&self, good: bool) {
        let text = if good {
            self.paint(Ink::Green, "Everything balances.")
        } else {
            self.paint(Ink::Red, "Something is wrong; see above.")
        };
        screen::say(format!(
            "\n{text}\nLook around: `sagactl order list`, `sagactl saga show <order>`, `sagactl topics tail order-events`"
        ));
    }

    fn paint(&self, ink: Ink, text: impl Display) -> String {
        let code = match ink {
            Ink::Bold => 1,
            Ink::Dim => 2,
            Ink::Green => 32,
            Ink::Red => 31,
            Ink::Yellow => 33,
        };
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_string()
        }
    }
}

/// What an event means, in a few words.
fn meaning(name: &str) -> &'static str {
    match name {
        "order.created" => "order and event are stored in one transaction",
        "stock.reserved" => "the goods are held for it",
        "stock.rejected" => "there is not enough on the shelf",
        "payment.created" => "the bank is asked",
        "payment.succeeded" => "the bank said yes",
        "payment.failed" => "the bank said no",
        "payment.expired" => "nobody paid in time",
        "payment.voided" => "no money is held",
        "payment.refunded" => "the money went back",
        "order.confirmed" => "the pivot: from here on nothing is undone",
        "order.rejected" => "it ends here, nothing was charged",
        "order.cancelled" => "whatever was done for it is undone",
        "order.refunded" => "the customer has the money back",
        "stock.committed" => "the goods leave the books",
        "stock.released" => "the goods are back on the shelf",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals() {
        assert_eq!(Stage { colours: false }.paint(Ink::Green, "✓"), "✓");
        assert_eq!(Stage { colours: true }.paint(Ink::Green, "✓"), "\x1b[32m✓\x1b[0m");
    }
}
