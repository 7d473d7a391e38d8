//! The declared choreography: what happens on which input.

/// One line of [`steps!`](crate::steps!): names of variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The input.
    pub on: &'static str,
    /// What it may put out.
    pub emits: &'static [&'static str],
    /// Which earlier outputs it undoes.
    pub undoes: &'static [&'static str],
}

/// Declares a participant's steps. A name that is no variant does not compile, nor does an input without
/// a line: `[]` says that it is noted and nothing is put out.
///
/// ```ignore
/// const STEPS: &[Step] = steps! { In, Out;
///     Created   => [Reserved, Rejected];
///     Confirmed => [Committed];
///     Cancelled => [Released] undoes [Reserved];
///     Receive   => [];
/// };
/// ```
#[macro_export]
macro_rules! steps {
    ($in:ident, $out:ident; $( $on:ident => [ $($emit:ident),* $(,)? ] $( undoes [ $($undo:ident),* $(,)? ] )? ; )+) => {{
        // Never called: it makes the compiler check the names, and that each input has its line.
        #[allow(dead_code)]
        fn every_input_has_a_line(input: &$in) {
            match input { $( $in::$on { .. } => (), )+ }
        }
        #[allow(dead_code)]
        fn every_output_exists(output: &$out) -> bool {
            false $( $( || matches!(output, $out::$emit { .. }) )* $( $( || matches!(output, $out::$undo { .. }) )* )? )+
        }
        &[ $( $crate::steps::Step {
            on: stringify!($on),
            emits: &[ $( stringify!($emit) ),* ],
            undoes: &[ $( $( stringify!($undo) ),* )? ],
        } ),+ ]
    }};
}
