use crate::input::{InputKind, InputSpec};
use crate::output::{OutputKind, OutputSpec};
use crate::participant::Participant;
use crate::steps::Step;
use crate::{Inputs, Outputs};

/// What the types of a participant say of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) steps: &'static [Step],
    pub(crate) inputs: &'static [InputSpec],
    pub(crate) outputs: &'static [OutputSpec],
}

impl Part {
    pub(crate) fn of<P: Participant>() -> Self {
        Self {
            name: P::NAME,
            steps: P::STEPS,
            inputs: <P::Input as Inputs>::SPEC,
            outputs: <P::Output as Outputs>::SPEC,
        }
    }

    pub(crate) fn input(&self, variant: &str) -> Option<&'static InputSpec> {
        self.inputs.iter().find(|spec| spec.variant == variant)
    }

    pub(crate) fn output(&self, variant: &str) -> Option<&'static OutputSpec> {
        self.outputs.iter().find(|spec| spec.variant == variant)
    }

    /// Whether some step puts this out.
    pub(crate) fn puts_out(&self, variant: &str) -> bool {
        self.steps.iter().any(|step| step.emits.contains(&variant))
    }

    /// The events that it hears, in the order of its type.
    pub(crate) fn hears(&self) -> impl Iterator<Item = &'static InputSpec> {
        self.inputs
            .iter()
            .filter(|spec| matches!(spec.kind, InputKind::Event { .. }))
    }

    /// The events that some step says, in the order of its type.
    pub(crate) fn says(&self) -> impl Iterator<Item = &'static OutputSpec> {
        self.outputs
            .iter()
            .filter(|spec| matches!(spec.kind, OutputKind::Event { .. }) && self.puts_out(spec.variant))
    }
}

/// Whether what is put out by one participant is this input of another, or of the same.
pub(crate) fn meets(from: &Part, output: &OutputSpec, to: &Part, input: &InputSpec) -> bool {
    match (output.kind, input.kind) {
        (OutputKind::Event { topic: said, .. }, InputKind::Event { topic: heard, .. }) => {
            said == heard && output.name == input.name
        }
        // Timers and effects are a participant's own.
        (OutputKind::Timer, InputKind::Timer) | (OutputKind::Effect { .. }, InputKind::Result) => {
            from.name == to.name && output.name == input.name
        }
        _ => false,
    }
}
