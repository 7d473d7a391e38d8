use std::fmt;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, SeedableRng as _};

use crate::chaos::fault::{CLOCKS, DOUBLES, Fault, Kind, LINES, Misbehaviour, PARTIES, VICTIMS};

/// A fault and its moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// When so many orders were taken.
    pub after: usize,
    /// What.
    pub fault: Fault,
}

/// What goes wrong when. A moment is a number of orders, not of seconds, and nothing of it depends on what happens: the
/// same seed means the same on a machine of any speed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// What it is drawn from.
    pub seed: u64,
    /// In order.
    pub faults: Vec<Planned>,
}

impl Schedule {
    /// So many faults in the course of so many orders. The first are one of each kind; after them each kind comes as
    /// often as its share says. Programs, lines and parties take their turns.
    pub fn draw(seed: u64, orders: usize, faults: usize) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut kinds: Vec<Kind> = Kind::ALL.iter().map(|(kind, _)| *kind).collect();
        kinds.shuffle(&mut random);
        while kinds.len() < faults {
            let mut deck: Vec<Kind> = Kind::ALL
                .iter()
                .flat_map(|(kind, share)| std::iter::repeat_n(*kind, *share))
                .collect();
            deck.shuffle(&mut random);
            kinds.extend(deck);
        }
        kinds.truncate(faults);
        let mut turns = Turns::default();
        let drawn: Vec<Fault> = kinds
            .into_iter()
            .map(|kind| turns.draw(kind, &mut random))
            .collect();
        // Not before the first orders are under way.
        let begin = (orders / 20).min(100);
        let mut moments: Vec<usize> = drawn
            .iter()
            .map(|_| random.random_range(begin..orders.max(begin + 1)))
            .collect();
        moments.sort_unstable();
        let planned = moments.into_iter().zip(drawn);
        Self {
            seed,
            faults: planned.map(|(after, fault)| Planned { after, fault }).collect(),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Planned { after, fault } in &self.faults {
            writeln!(f, "  after {after:>7} orders: {fault}")?;
        }
        Ok(())
    }
}

/// Whose turn it is, so that nobody is spared.
#[derive(Debug, Default)]
struct Turns {
    victims: Vec<&'static str>,
    lines: [Vec<(&'static str, crate::system::Peer)>; 4],
    parties: Vec<&'static str>,
    clocks: Vec<&'static str>,
    doubles: Vec<&'static str>,
    poisons: u64,
}

fn next<T: Copy>(left: &mut Vec<T>, all: &[T], random: &mut StdRng) -> T {
    if left.is_empty() {
        left.extend(all);
        left.shuffle(random);
    }
    // It was just filled, and nobody hands in an empty list.
    left.pop().unwrap_or(all[0])
}

impl Turns {
    fn draw(&mut self, kind: Kind, random: &mut StdRng) -> Fault {
        match kind {
            Kind::Kill => Fault::Kill {
                program: next(&mut self.victims, VICTIMS, random),
            },
            Kind::Freeze => Fault::Freeze {
                program: next(&mut self.victims, VICTIMS, random),
                ms: random.random_range(300..5_000),
            },
            Kind::CrashDatabase => Fault::CrashDatabase {
                down_ms: random.random_range(0..1_500),
                hard: random.random_bool(0.5),
            },
            Kind::FreezeDatabase => Fault::FreezeDatabase {
                ms: random.random_range(300..4_000),
            },
            Kind::CrashBroker => Fault::CrashBroker {
                down_ms: random.random_range(0..1_500),
            },
            Kind::FreezeBroker => Fault::FreezeBroker {
                ms: random.random_range(300..5_000),
            },
            Kind::Reset => Fault::Reset {
                line: next(&mut self.lines[0], LINES, random),
            },
            Kind::BlackHole => Fault::BlackHole {
                line: next(&mut self.lines[1], LINES, random),
                ms: random.random_range(500..6_000),
            },
            Kind::Delay => Fault::Delay {
                line: next(&mut self.lines[2], LINES, random),
                by_ms: random.random_range(10..150),
                ms: random.random_range(500..4_000),
            },
            Kind::Slow => Fault::Slow {
                line: next(&mut self.lines[3], LINES, random),
                bytes_per_second: random.random_range(4_000..64_000),
                ms: random.random_range(500..4_000),
            },
            Kind::Partition => Fault::Partition {
                party: next(&mut self.parties, PARTIES, random),
                ms: random.random_range(500..6_000),
            },
            Kind::Clock => Fault::Clock {
                program: next(&mut self.clocks, CLOCKS, random),
                by_s: jump(random),
                ms: random.random_range(1_000..5_000),
            },
            Kind::Provider => Fault::Provider {
                how: misbehaviour(random),
                calls: random.random_range(1..40),
            },
            Kind::Webhooks => Fault::Webhooks {
                ms: random.random_range(300..5_000),
            },
            Kind::Poison => {
                self.poisons += 1;
                Fault::Poison {
                    mended: self.poisons.is_multiple_of(2),
                }
            }
            Kind::Rebalance => Fault::Rebalance {
                program: next(&mut self.doubles, DOUBLES, random),
                ms: random.random_range(500..4_000),
                killed: random.random_bool(0.5),
            },
        }
    }
}

/// From seconds to hours, either way, each size as often as any other.
fn jump(random: &mut StdRng) -> i64 {
    let size = *[5, 45, 600, 3 * 3_600].choose(random).unwrap_or(&45);
    let by = random.random_range(size / 2..size * 2);
    if random.random_bool(0.5) { by } else { -by }
}

fn misbehaviour(random: &mut StdRng) -> Misbehaviour {
    match random.random_range(0..3) {
        0 => Misbehaviour::Refuses(*[429, 500, 503].choose(random).unwrap_or(&503)),
        1 => Misbehaviour::LosesAnswers,
        _ => Misbehaviour::TakesItsTime,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn a_seed_is_a_schedule_and_another_seed_is_another() {
        assert_eq!(Schedule::draw(1, 5_000, 60), Schedule::draw(1, 5_000, 60));
        assert_ne!(
            Schedule::draw(1, 5_000, 60).faults,
            Schedule::draw(2, 5_000, 60).faults
        );
    }

    #[test]
    fn a_short_schedule_has_each_kind_and_comes_in_order() {
        for seed in 0..50 {
            let schedule = Schedule::draw(seed, 300, Kind::ALL.len());
            let kinds: BTreeSet<Kind> = schedule.faults.iter().map(|one| one.fault.kind()).collect();
            assert_eq!(kinds.len(), Kind::ALL.len(), "seed {seed}");
            assert!(schedule.faults.is_sorted_by_key(|one| one.after));
            assert!(schedule.faults.iter().all(|one| (15..300).contains(&one.after)));
        }
    }

    #[test]
    fn a_long_schedule_spares_nobody_and_keeps_the_shares() {
        let schedule = Schedule::draw(7, 100_000, 2_000);
        let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
        let mut said: BTreeSet<String> = BTreeSet::new();
        for Planned { fault, .. } in &schedule.faults {
            *kinds.entry(fault.kind()).or_default() += 1;
            let whole = fault.to_string();
            said.extend(whole.split(' ').map(str::to_owned));
        }
        let shares: usize = Kind::ALL.iter().map(|(_, share)| share).sum();
        for (kind, share) in Kind::ALL {
            let expected = 2_000 * share / shares;
            assert!(
                kinds[kind].abs_diff(expected) < expected / 4 + 4,
                "{kind:?}: {} instead of about {expected}",
                kinds[kind]
            );
        }
        for who in VICTIMS.iter().chain(PARTIES).chain(CLOCKS).chain(DOUBLES) {
            assert!(said.contains(*who), "{who} is spared");
        }
        for (party, peer) in LINES {
            let line = format!("{party}-{}", crate::chaos::fault::peer(*peer));
            assert!(said.contains(&line), "{line} is spared");
        }
    }

    #[test]
    fn a_page_of_it_can_be_read() {
        let text = Schedule::draw(7, 1_000, 100).to_string();
        assert_eq!(text.lines().count(), 100);
        assert!(text.contains("orders: kill "), "{text}");
    }
}
