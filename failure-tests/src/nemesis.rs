use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::load::Progress;
use crate::system::System;
use crate::wait::until;

/// A kill: who, and after how many orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    /// Which program.
    pub program: &'static str,
    /// When so many orders were placed.
    pub after: usize,
}

/// Kills at random moments. A moment is a number of orders, not of seconds: the same seed means the same on a
/// machine of any speed.
#[derive(Clone, Debug)]
pub struct Nemesis {
    /// In order.
    pub kills: Vec<Kill>,
}

impl Nemesis {
    /// Each program `rounds` times, in any order, in the course of so many orders.
    pub fn draw(seed: u64, programs: &[&'static str], rounds: usize, orders: usize) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut victims: Vec<&'static str> = Vec::new();
        for _ in 0..rounds {
            let mut round = programs.to_vec();
            round.shuffle(&mut random);
            victims.extend(round);
        }
        let mut moments: Vec<usize> = victims
            .iter()
            .map(|_| random.random_range(0..orders.max(1)))
            .collect();
        moments.sort_unstable();
        let kills = victims.into_iter().zip(moments);
        Self {
            kills: kills.map(|(program, after)| Kill { program, after }).collect(),
        }
    }

    /// `kill -9` and start again, one after the other. Who is killed next need not be ready yet.
    ///
    /// # Errors
    /// If the load stands still, or a program does not start.
    pub async fn run(&self, system: &System, progress: &Progress) -> Result<()> {
        for Kill { program, after } in &self.kills {
            until("orders to be placed", async || {
                let placed = progress.load(Ordering::Relaxed);
                if placed >= *after {
                    Ok(())
                } else {
                    Err(format!("{placed} were, {program} is killed at {after}"))
                }
            })
            .await?;
            let victim = system.program(program);
            victim.kill()?;
            victim.start().with_context(|| format!("start {program} again"))?;
        }
        system.restore().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_kills_and_spares_nobody() {
        let draw = |seed| Nemesis::draw(seed, &["a", "b", "c"], 2, 100).kills;
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!(draw(1).is_sorted_by_key(|kill| kill.after));
        for program in ["a", "b", "c"] {
            assert_eq!(draw(1).iter().filter(|kill| kill.program == program).count(), 2);
        }
    }
}
