//! How gauges and untyped samples merge. A rule, a header or the default chooses (merge-semantics 1.4).

use std::fmt;
use std::str::FromStr;

/// The value of a gauge after several pushes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GaugeRule {
    /// The latest value.
    #[default]
    Last,
    Sum,
    Min,
    Max,
    Mean,
}

/// How to treat samples whose type the push does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UntypedRule {
    #[default]
    Sum,
    Last,
    Reject,
}

/// A word that is not the name of a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not one of {accepted}")]
pub struct UnknownRule {
    pub given: String,
    pub accepted: String,
}

macro_rules! words {
    ($rule:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $rule {
            pub const ALL: &[$rule] = &[$($rule::$variant),+];

            pub fn word(self) -> &'static str {
                match self {
                    $($rule::$variant => $word),+
                }
            }
        }

        impl fmt::Display for $rule {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }

        impl FromStr for $rule {
            type Err = UnknownRule;

            fn from_str(text: &str) -> Result<$rule, UnknownRule> {
                $rule::ALL.iter().copied().find(|rule| rule.word() == text).ok_or_else(|| UnknownRule {
                    given: text.to_owned(),
                    accepted: [$($word),+].join(", "),
                })
            }
        }
    };
}

words!(GaugeRule { Last = "last", Sum = "sum", Min = "min", Max = "max", Mean = "mean" });
words!(UntypedRule { Sum = "sum", Last = "last", Reject = "reject" });
