//! Everything that was measured, as it goes into the JSON file.

use serde_json::{Value, json};

use crate::aims::Aim;
use crate::cancel::AllCancels;
use crate::cleanup::Cleanup;
use crate::cost::Cost;
use crate::cut::Cut;
use crate::import::Imports;
use crate::machine::Machine;
use crate::pairs::Size;
use crate::quiet::Quiet;
use crate::repeat::Repeat;

/// What each part found; a part that was not run has nothing.
pub(super) struct Results {
    pub(super) machine: Machine,
    pub(super) seed: u64,
    pub(super) sizes: Vec<Size>,
    pub(super) cleanups: Vec<Cleanup>,
    pub(super) quiet: Vec<Quiet>,
    pub(super) cancels: Option<AllCancels>,
    pub(super) imports: Option<Imports>,
    pub(super) repeat: Option<Repeat>,
    pub(super) cost: Option<Cost>,
    pub(super) cut: Option<Cut>,
}

impl Results {
    /// Of a run that has measured nothing yet.
    pub(super) fn of(machine: Machine, seed: u64) -> Self {
        Self {
            machine,
            seed,
            sizes: Vec::new(),
            cleanups: Vec::new(),
            quiet: Vec::new(),
            cancels: None,
            imports: None,
            repeat: None,
            cost: None,
            cut: None,
        }
    }

    /// All numbers, with the verdicts that follow from them.
    pub(super) fn to_json(&self, aims: &[Aim]) -> Value {
        json!({
            "machine": self.machine.to_json(),
            "seed": self.seed,
            "strategies": self.sizes.iter().map(Size::to_json).collect::<Vec<_>>(),
            "cleanup_in_turns": self.cleanups.iter().map(Cleanup::to_json).collect::<Vec<_>>(),
            "quiet": self.quiet.iter().map(Quiet::to_json).collect::<Vec<_>>(),
            "cancel": self.cancels.as_ref().map(AllCancels::to_json),
            "import": self.imports.as_ref().map(Imports::to_json),
            "repeat": self.repeat.as_ref().map(Repeat::to_json),
            "cost": self.cost.as_ref().map(Cost::to_json),
            "cut": self.cut.as_ref().map(Cut::to_json),
            "aims": aims.iter().map(Aim::to_json).collect::<Vec<_>>(),
        })
    }
}
