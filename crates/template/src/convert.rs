//! Numbers and truths: confd's arithmetic, conversions, and what users of Sprig expect.

use crate::format::verb;
use crate::function::Origin::{Confd, ConsulTemplate, Sprig};
use crate::function::Param::{Any, Int, String as Str};
use crate::function::{Answer, Definition, Run, bytes, int, text};
use crate::number::{parse_float, parse_int, parse_uint};
use crate::quote::quote;
use crate::strings::plain;
use crate::value::Value;

/// Functions on numbers and truths.
pub(crate) const TABLE: &[Definition] = &[
    Confd.row("add", &[Int, Int], Run::Pure(add), "the sum"),
    Confd.row("sub", &[Int, Int], Run::Pure(sub), "the difference"),
    Confd.row("mul", &[Int, Int], Run::Pure(mul), "the product"),
    Confd.row(
        "div",
        &[Int, Int],
        Run::Pure(div),
        "the quotient, cut towards zero; an error for zero",
    ),
    Confd.row("mod", &[Int, Int], Run::Pure(rem), "the remainder; an error for zero"),
    Confd.row("atoi", &[Str], Run::Pure(atoi), "a text as a whole number"),
    Confd.row(
        "parseBool",
        &[Str],
        Run::Pure(parse_bool),
        "a text as a truth: `1 t T TRUE true True`, `0 f F FALSE false False`",
    ),
    ConsulTemplate.row("parseInt", &[Str], Run::Pure(atoi), "a text as a whole number"),
    ConsulTemplate.row(
        "parseFloat",
        &[Str],
        Run::Pure(parse_f64),
        "a text as a floating-point number",
    ),
    Sprig.row("int", &[Any], Run::Pure(to_int), "anything as a whole number; 0 for what is none"),
    Sprig.row("int64", &[Any], Run::Pure(to_int), "the same"),
    Sprig.row(
        "float64",
        &[Any],
        Run::Pure(to_float),
        "anything as a floating-point number; 0 for what is none",
    ),
    Sprig.row("float", &[Any], Run::Pure(to_float), "the same"),
    Sprig.row("toString", &[Any], Run::Pure(to_string), "anything as a text, as it prints"),
    Sprig.row(
        "kindOf",
        &[Any],
        Run::Pure(kind_of),
        "Go's kind of a value: `string`, `slice`, `map`, ...",
    ),
    Sprig.row("typeOf", &[Any], Run::Pure(type_of), "Go's type of a value"),
    Sprig.row("add1", &[Any], Run::Pure(add_one), "one more"),
    Sprig.row("max", &[Any], Run::Pure(max), "the greatest whole number").and_more(Any),
    Sprig.row("min", &[Any], Run::Pure(min), "the least whole number").and_more(Any),
    Sprig.row("floor", &[Any], Run::Pure(floor), "the next whole number below"),
    Sprig.row("ceil", &[Any], Run::Pure(ceil), "the next whole number above"),
    Sprig
        .row("addf", &[Any], Run::Pure(add_floats), "the sum of floating-point numbers")
        .and_more(Any),
    Sprig
        .row("mulf", &[Any], Run::Pure(mul_floats), "the product of floating-point numbers")
        .and_more(Any),
    Sprig.row("subf", &[Any], Run::Pure(sub_floats), "the first less all others").and_more(Any),
    Sprig
        .row("divf", &[Any], Run::Pure(div_floats), "the first divided by all others")
        .and_more(Any),
    ConsulTemplate.row(
        "subtract",
        &[Any, Any],
        Run::Pure(subtract),
        "the second number less the first",
    ),
    ConsulTemplate.row("multiply", &[Any, Any], Run::Pure(multiply), "the product of two numbers"),
    ConsulTemplate.row(
        "divide",
        &[Any, Any],
        Run::Pure(divide),
        "the second number divided by the first",
    ),
    ConsulTemplate.row(
        "modulo",
        &[Any, Any],
        Run::Pure(modulo),
        "the remainder of the second number divided by the first",
    ),
];

fn pair(values: &[Value]) -> (i64, i64) {
    (int(values, 0), int(values, 1))
}

fn add(values: &[Value]) -> Answer {
    let (left, right) = pair(values);
    Ok(Value::Int(left.wrapping_add(right)))
}

fn sub(values: &[Value]) -> Answer {
    let (left, right) = pair(values);
    Ok(Value::Int(left.wrapping_sub(right)))
}

fn mul(values: &[Value]) -> Answer {
    let (left, right) = pair(values);
    Ok(Value::Int(left.wrapping_mul(right)))
}

fn divided(left: i64, right: i64) -> Answer {
    match right {
        0 => Err("runtime error: integer divide by zero".to_owned()),
        right => Ok(Value::Int(left.wrapping_div(right))),
    }
}

fn remainder(left: i64, right: i64) -> Answer {
    match right {
        0 => Err("runtime error: integer divide by zero".to_owned()),
        right => Ok(Value::Int(left.wrapping_rem(right))),
    }
}

fn div(values: &[Value]) -> Answer {
    let (left, right) = pair(values);
    divided(left, right)
}

fn rem(values: &[Value]) -> Answer {
    let (left, right) = pair(values);
    remainder(left, right)
}

fn atoi(values: &[Value]) -> Answer {
    let source = &*text(values, 0);
    let digits = source.trim_start_matches(['+', '-']);
    let good = match source.len() - digits.len() {
        0 | 1 if !digits.contains('_') => parse_int(source, 10),
        _ => parse_uint("", 10).map(|_| 0),
    };
    good.map(Value::Int).map_err(|error| {
        let shown = quote(bytes(values, 0), '"', false);
        format!("strconv.Atoi: parsing {shown}: {}", error.reason())
    })
}

fn parse_f64(values: &[Value]) -> Answer {
    parse_float(&text(values, 0)).map(Value::Float).map_err(|error| {
        let shown = quote(bytes(values, 0), '"', false);
        format!("strconv.ParseFloat: parsing {shown}: {}", error.reason())
    })
}

fn parse_bool(values: &[Value]) -> Answer {
    match bytes(values, 0) {
        b"1" | b"t" | b"T" | b"TRUE" | b"true" | b"True" => Ok(Value::Bool(true)),
        b"0" | b"f" | b"F" | b"FALSE" | b"false" | b"False" => Ok(Value::Bool(false)),
        other => {
            let shown = quote(other, '"', false);
            Err(format!("strconv.ParseBool: parsing {shown}: invalid syntax"))
        }
    }
}

/// Anything as a whole number, 0 for what is none.
pub(crate) fn whole(value: &Value) -> i64 {
    match value {
        Value::Int(number) => *number,
        Value::Uint(number, _) => i64::try_from(*number).unwrap_or(i64::MAX),
        Value::Float(number) => *number as i64,
        Value::Bool(truth) => i64::from(*truth),
        Value::Opaque(opaque) => opaque.number().unwrap_or(0),
        Value::String(text) => {
            let text = text.to_lossy();
            let whole = parse_int(&text, 0).ok();
            whole.unwrap_or_else(|| parse_float(&text).map_or(0, |number| number as i64))
        }
        _ => 0,
    }
}

fn real(value: &Value) -> f64 {
    match value {
        Value::Float(number) => *number,
        Value::String(text) => parse_float(&text.to_lossy()).unwrap_or(0.0),
        value => whole(value) as f64,
    }
}

fn to_int(values: &[Value]) -> Answer {
    Ok(Value::Int(whole(&values[0])))
}

fn to_float(values: &[Value]) -> Answer {
    Ok(Value::Float(real(&values[0])))
}

fn to_string(values: &[Value]) -> Answer {
    plain(&values[0]).map(Value::String)
}

fn kind_of(values: &[Value]) -> Answer {
    Ok(Value::text(match &values[0] {
        Value::Nil => "invalid",
        Value::List(_) => "slice",
        Value::Map(_) => "map",
        Value::Opaque(opaque) if opaque.number().is_some() => "int",
        Value::Pair(_) | Value::Record(_) | Value::Opaque(_) => "struct",
        value => value.type_name(),
    }))
}

fn type_of(values: &[Value]) -> Answer {
    Ok(Value::text(match &values[0] {
        Value::Nil => verb(&Value::Nil, 'v'),
        value => value.type_name().to_owned(),
    }))
}

fn add_one(values: &[Value]) -> Answer {
    Ok(Value::Int(whole(&values[0]).wrapping_add(1)))
}

fn max(values: &[Value]) -> Answer {
    Ok(Value::Int(values.iter().map(whole).max().unwrap_or(0)))
}

fn min(values: &[Value]) -> Answer {
    Ok(Value::Int(values.iter().map(whole).min().unwrap_or(0)))
}

fn floor(values: &[Value]) -> Answer {
    Ok(Value::Float(real(&values[0]).floor()))
}

fn ceil(values: &[Value]) -> Answer {
    Ok(Value::Float(real(&values[0]).ceil()))
}

fn fold(values: &[Value], with: fn(f64, f64) -> f64) -> Answer {
    Ok(Value::Float(values.iter().map(real).reduce(with).unwrap_or(0.0)))
}

fn add_floats(values: &[Value]) -> Answer {
    fold(values, |left, right| left + right)
}

fn mul_floats(values: &[Value]) -> Answer {
    fold(values, |left, right| left * right)
}

fn sub_floats(values: &[Value]) -> Answer {
    fold(values, |left, right| left - right)
}

fn div_floats(values: &[Value]) -> Answer {
    fold(values, |left, right| left / right)
}

fn any_float(values: &[Value]) -> bool {
    values.iter().any(|value| matches!(value, Value::Float(_)))
}

fn subtract(values: &[Value]) -> Answer {
    match any_float(values) {
        true => Ok(Value::Float(real(&values[1]) - real(&values[0]))),
        false => Ok(Value::Int(whole(&values[1]).wrapping_sub(whole(&values[0])))),
    }
}

fn multiply(values: &[Value]) -> Answer {
    match any_float(values) {
        true => Ok(Value::Float(real(&values[1]) * real(&values[0]))),
        false => Ok(Value::Int(whole(&values[1]).wrapping_mul(whole(&values[0])))),
    }
}

fn divide(values: &[Value]) -> Answer {
    match any_float(values) {
        true => Ok(Value::Float(real(&values[1]) / real(&values[0]))),
        false => divided(whole(&values[1]), whole(&values[0])),
    }
}

fn modulo(values: &[Value]) -> Answer {
    remainder(whole(&values[1]), whole(&values[0]))
}
