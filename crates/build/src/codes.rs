//! The codes of the build's diagnostics. `docs/errors.md` has a paragraph for each.

use brickyard_core::Code;

/// A Dockerfile or `.dockerignore` cannot be read.
pub const UNREADABLE: Code = Code("BY0200");
/// An instruction is malformed.
pub const SYNTAX: Code = Code("BY0201");
/// An instruction or flag of Dockerfiles that is not supported yet.
pub const UNSUPPORTED: Code = Code("BY0202");
/// A word where an instruction is expected.
pub const UNKNOWN_INSTRUCTION: Code = Code("BY0203");
/// A stage or image that does not exist.
pub const NO_STAGE: Code = Code("BY0204");
/// A source of COPY or ADD that does not exist.
pub const NO_SOURCE: Code = Code("BY0205");
/// A destination that cannot be written as asked.
pub const DESTINATION: Code = Code("BY0206");
/// A build argument that nothing uses.
pub const UNUSED_ARGUMENT: Code = Code("BY0207");
