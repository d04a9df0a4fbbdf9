//! The codes of the model's diagnostics. `docs/errors.md` has a paragraph for each.

use brickyard_core::Code;

/// A file cannot be read, or is not UTF-8.
pub const UNREADABLE: Code = Code("BY0100");
/// The text is not YAML, or not one document with a mapping on top.
pub const SYNTAX: Code = Code("BY0101");
/// A key that nobody knows.
pub const UNKNOWN_KEY: Code = Code("BY0102");
/// A key or value of the Compose Specification that the engine cannot honour.
pub const UNSUPPORTED: Code = Code("BY0103");
/// A key stands twice in one mapping.
pub const DUPLICATE_KEY: Code = Code("BY0104");
/// A value has the wrong shape: a list where text is expected, for example.
pub const WRONG_TYPE: Code = Code("BY0105");
/// A value has the right shape but cannot be read, as `mem_limit: lots`.
pub const BAD_VALUE: Code = Code("BY0106");
/// A key that must be there is missing.
pub const MISSING_KEY: Code = Code("BY0107");
/// `$` starts no valid variable expression.
pub const BAD_INTERPOLATION: Code = Code("BY0108");
/// A variable is not set and has no default; it becomes empty.
pub const UNSET_VARIABLE: Code = Code("BY0109");
/// A variable with `:?` or `?` is not set.
pub const REQUIRED_VARIABLE: Code = Code("BY0110");
/// A line of an env file cannot be read.
pub const BAD_ENV_FILE: Code = Code("BY0111");
/// A text breaks the rule of a name.
pub const BAD_NAME: Code = Code("BY0112");
/// A name that is used is not defined.
pub const UNDEFINED: Code = Code("BY0113");
/// Services wait for each other's start in a circle.
pub const START_CYCLE: Code = Code("BY0114");
/// Two services publish the same port, or two files have the same destination.
pub const CONFLICT: Code = Code("BY0115");
/// A need does not say which of several endpoints it means, or there is none.
pub const AMBIGUOUS_ENDPOINT: Code = Code("BY0116");
/// Files include each other, or services extend each other, in a circle.
pub const CIRCLE: Code = Code("BY0118");
/// Something is accepted for compatibility and has no effect.
pub const NO_EFFECT: Code = Code("BY0117");
