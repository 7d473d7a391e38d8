use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use quadrille_process::fault::{Kind, Point};

use crate::stage::Program;

/// The programs' drawers: where a fault is put in, and comes out as fired.
#[derive(Clone, Debug)]
pub(crate) struct Drawers(BTreeMap<String, PathBuf>);

/// Where a program passes a point with something of a saga. The occasion is `_` where there is but one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Step {
    pub(crate) program: String,
    pub(crate) point: Point,
    pub(crate) occasion: String,
}

/// A fault that was put in.
#[derive(Clone, Debug)]
pub(crate) struct Armed {
    file: PathBuf,
}

impl Drawers {
    pub(crate) fn of(programs: &[&Program]) -> Result<Self> {
        let mut drawers = BTreeMap::new();
        for program in programs {
            let folder = program.drawer().to_owned();
            fs::create_dir_all(folder.join("watched"))?;
            drawers.insert(program.name.clone(), folder);
        }
        Ok(Self(drawers))
    }

    /// From here on each passage of this saga is noted.
    pub(crate) fn watch(&self, key: &str) -> Result<()> {
        for folder in self.0.values() {
            fs::write(folder.join("watched").join(key), "")?;
        }
        Ok(())
    }

    /// What was noted.
    pub(crate) fn passages(&self, key: &str) -> Result<BTreeSet<Step>> {
        let mut steps = BTreeSet::new();
        for (program, folder) in &self.0 {
            let noted = fs::read_to_string(folder.join("watched").join(key))?;
            for line in noted.lines() {
                let (point, occasion) = line.split_once('\t').context("a point and an occasion")?;
                steps.insert(Step {
                    program: program.clone(),
                    point: point.parse()?,
                    occasion: occasion.to_owned(),
                });
            }
        }
        Ok(steps)
    }

    /// Arms a step for a saga, or for whatever the key names.
    pub(crate) fn arm(&self, step: &Step, key: &str, kind: Kind, delay: Duration) -> Result<Armed> {
        let text = match kind {
            Kind::Crash => "abort".to_owned(),
            Kind::Delay => format!("delay:{}", delay.as_millis()),
            Kind::Error => "error".to_owned(),
            Kind::LostAnswer => "lost".to_owned(),
        };
        let folder = self.0[&step.program].join(step.point.name()).join(key);
        fs::create_dir_all(&folder)?;
        let file = folder.join(&step.occasion);
        drop(fs::remove_file(fired(&file)));
        // Nobody may find it half-written.
        let draft = folder.join(".draft");
        fs::write(&draft, text)?;
        fs::rename(&draft, &file)?;
        Ok(Armed { file })
    }
}

impl Armed {
    /// When it happened.
    pub(crate) fn fired(&self) -> Option<SystemTime> {
        let text = fs::read_to_string(fired(&self.file)).ok()?;
        let millis = text.trim().parse().ok()?;
        Some(SystemTime::UNIX_EPOCH + Duration::from_millis(millis))
    }

    /// Takes it out again, if it did not happen.
    pub(crate) fn disarm(&self) {
        drop(fs::remove_file(&self.file));
    }
}

fn fired(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".fired");
    PathBuf::from(name)
}
