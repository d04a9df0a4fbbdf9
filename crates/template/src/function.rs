//! The functions that templates may call: their names and what they take.
//!
//! Names are resolved when a template is parsed, arguments are checked against the signature when
//! it is executed, as Go does both.

/// What a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Param {
    /// Anything (`interface {}` or `reflect.Value`).
    Any,
    /// A text.
    String,
    /// A whole number.
    Int,
    /// A `[]string`.
    Strings,
    /// A `[]memkv.KVPair`.
    Pairs,
}

impl Param {
    /// Go's name of the type.
    pub(crate) fn type_name(self) -> &'static str {
        match self {
            Self::Any => "interface {}",
            Self::String => "string",
            Self::Int => "int",
            Self::Strings => crate::value::STRINGS,
            Self::Pairs => "[]memkv.KVPair",
        }
    }

    /// Whether Go's type has a nil.
    pub(crate) fn can_be_nil(self) -> bool {
        matches!(self, Self::Any | Self::Strings | Self::Pairs)
    }
}

/// What a function takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signature {
    pub(crate) fixed: &'static [Param],
    /// What every further argument is.
    pub(crate) variadic: Option<Param>,
}

macro_rules! functions {
    ($($variant:ident $name:literal [$($fixed:ident),*] $(..$rest:ident)?;)*) => {
        /// A function.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Function {
            $(#[doc = $name] $variant,)*
        }

        impl Function {
            /// The function of a name.
            pub(crate) fn find(name: &str) -> Option<Self> {
                Some(match name {
                    $($name => Self::$variant,)*
                    _ => return None,
                })
            }

            /// What it takes.
            pub(crate) fn signature(self) -> Signature {
                match self {
                    $(Self::$variant => Signature {
                        fixed: &[$(Param::$fixed),*],
                        variadic: functions!(@rest $($rest)?),
                    },)*
                }
            }
        }
    };
    (@rest) => { None };
    (@rest $rest:ident) => { Some(Param::$rest) };
}

functions! {
    // Go's own.
    And "and" [Any] ..Any;
    Call "call" [Any] ..Any;
    Html "html" [] ..Any;
    Index "index" [Any] ..Any;
    Slice "slice" [Any] ..Any;
    Js "js" [] ..Any;
    Len "len" [Any];
    Not "not" [Any];
    Or "or" [Any] ..Any;
    Print "print" [] ..Any;
    Printf "printf" [String] ..Any;
    Println "println" [] ..Any;
    Urlquery "urlquery" [] ..Any;
    Eq "eq" [Any] ..Any;
    Ge "ge" [Any, Any];
    Gt "gt" [Any, Any];
    Le "le" [Any, Any];
    Lt "lt" [Any, Any];
    Ne "ne" [Any, Any];
    // confd's.
    Add "add" [Int, Int];
    Atoi "atoi" [String];
    Base "base" [String];
    Base64Decode "base64Decode" [String];
    Base64Encode "base64Encode" [String];
    Contains "contains" [String, String];
    Dir "dir" [String];
    Div "div" [Int, Int];
    Exists "exists" [String];
    Get "get" [String];
    Getenv "getenv" [String] ..String;
    Gets "gets" [String];
    Getv "getv" [String] ..String;
    Getvs "getvs" [String];
    Join "join" [Strings, String];
    Json "json" [String];
    JsonArray "jsonArray" [String];
    Ls "ls" [String];
    Lsdir "lsdir" [String];
    Map "map" [] ..Any;
    Mod "mod" [Int, Int];
    Mul "mul" [Int, Int];
    ParseBool "parseBool" [String];
    Replace "replace" [String, String, String];
    Reverse "reverse" [Any];
    Seq "seq" [Int, Int];
    SortByLength "sortByLength" [Strings];
    SortPairsByLength "sortKVByLength" [Pairs];
    Split "split" [String, String];
    Sub "sub" [Int, Int];
    ToLower "toLower" [String];
    ToUpper "toUpper" [String];
    TrimSuffix "trimSuffix" [String, String];
    // Ours.
    Line "line" [String];
}
