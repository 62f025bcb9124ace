//! CBOR payloads (RFC 8949): one map each.

use minicbor::Decoder;
use minicbor::data::{IanaTag, Type};
use serde_json::{Map, Number, Value};

use super::json::MAX_DEPTH;

/// The value of a payload that is one map and nothing behind it. Bytes become text of hex digits,
/// a big number its digits, a NaN the text; what is undefined is null.
pub(crate) fn value(payload: &[u8]) -> Result<Value, String> {
    let mut decoder = Decoder::new(payload);
    let found = decoder.datatype().map_err(|error| wrong(&error))?;
    if !matches!(found, Type::Map | Type::MapIndef) {
        return Err(format!("expected one CBOR map, found {found}"));
    }
    let value = item(&mut decoder, 0)?;
    match decoder.position() == payload.len() {
        true => Ok(value),
        false => Err("payload is not one CBOR map: bytes are left behind it".to_owned()),
    }
}

fn wrong(error: &minicbor::decode::Error) -> String {
    match error.is_end_of_input() {
        true => "payload ends inside a CBOR item".to_owned(),
        false => format!("payload is no CBOR: {error}"),
    }
}

fn item(decoder: &mut Decoder<'_>, depth: usize) -> Result<Value, String> {
    if depth > MAX_DEPTH {
        return Err(format!("payload is nested more than {MAX_DEPTH} levels deep"));
    }
    match decoder.datatype().map_err(|error| wrong(&error))? {
        Type::Map | Type::MapIndef => map(decoder, depth),
        Type::Array | Type::ArrayIndef => list(decoder, depth),
        Type::Tag => tagged(decoder, depth),
        _ => scalar(decoder).map_err(|error| wrong(&error)),
    }
}

fn scalar(decoder: &mut Decoder<'_>) -> Result<Value, minicbor::decode::Error> {
    Ok(match decoder.datatype()? {
        Type::Bool => Value::Bool(decoder.bool()?),
        Type::Null => {
            decoder.null()?;
            Value::Null
        }
        Type::Undefined => {
            decoder.undefined()?;
            Value::Null
        }
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => Value::from(decoder.u64()?),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 => Value::from(decoder.i64()?),
        Type::Int => Value::String(decoder.int()?.to_string()),
        Type::F16 => float(decoder.f16()?.into()),
        Type::F32 => float(decoder.f32()?.into()),
        Type::F64 => float(decoder.f64()?),
        Type::Bytes | Type::BytesIndef => Value::String(hex(&bytes(decoder)?)),
        Type::String | Type::StringIndef => Value::String(text(decoder)?),
        other => return Err(minicbor::decode::Error::type_mismatch(other)),
    })
}

fn float(number: f64) -> Value {
    Number::from_f64(number).map_or_else(|| Value::String(number.to_string()), Value::Number)
}

/// Lengths that a payload claims are not believed: nothing is set aside for what is not there.
fn list(decoder: &mut Decoder<'_>, depth: usize) -> Result<Value, String> {
    let claimed = decoder.array().map_err(|error| wrong(&error))?;
    let mut items = Vec::new();
    while goes_on(decoder, claimed, items.len())? {
        items.push(item(decoder, depth + 1)?);
    }
    Ok(Value::Array(items))
}

fn map(decoder: &mut Decoder<'_>, depth: usize) -> Result<Value, String> {
    let claimed = decoder.map().map_err(|error| wrong(&error))?;
    let (mut fields, mut read) = (Map::new(), 0);
    while goes_on(decoder, claimed, read)? {
        let name = match item(decoder, depth + 1)? {
            Value::String(name) => name,
            Value::Number(name) => name.to_string(),
            _ => return Err("the key of a CBOR map is neither text nor number".to_owned()),
        };
        fields.insert(name, item(decoder, depth + 1)?);
        read += 1;
    }
    Ok(Value::Object(fields))
}

/// Whether there is one more; takes the break behind what came without a length.
fn goes_on(decoder: &mut Decoder<'_>, claimed: Option<u64>, read: usize) -> Result<bool, String> {
    if let Some(claimed) = claimed {
        return Ok((read as u64) < claimed);
    }
    let found = decoder.datatype().map_err(|error| wrong(&error))?;
    if found == Type::Break {
        decoder.set_position(decoder.position() + 1);
    }
    Ok(found != Type::Break)
}

/// Times are their text or number, big numbers their digits where 128 bits hold them; other tags
/// add nothing.
fn tagged(decoder: &mut Decoder<'_>, depth: usize) -> Result<Value, String> {
    let tag = decoder.tag().map_err(|error| wrong(&error))?;
    let value = decoder.datatype().map_err(|error| wrong(&error))?;
    let is_negative = tag == IanaTag::NegBignum.tag();
    if (is_negative || tag == IanaTag::PosBignum.tag()) && value == Type::Bytes {
        let bytes = decoder.bytes().map_err(|error| wrong(&error))?;
        if bytes.len() > 15 {
            return Err("a number of more than 120 bits".to_owned());
        }
        let number = bytes.iter().fold(0i128, |number, byte| number << 8 | i128::from(*byte));
        return Ok(Value::String(if is_negative { -1 - number } else { number }.to_string()));
    }
    item(decoder, depth + 1)
}

fn bytes(decoder: &mut Decoder<'_>) -> Result<Vec<u8>, minicbor::decode::Error> {
    let mut bytes = Vec::new();
    for part in decoder.bytes_iter()? {
        bytes.extend_from_slice(part?);
    }
    Ok(bytes)
}

fn text(decoder: &mut Decoder<'_>) -> Result<String, minicbor::decode::Error> {
    let mut text = String::new();
    for part in decoder.str_iter()? {
        text.push_str(part?);
    }
    Ok(text)
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}
