//! The messages of ONNX's format that tests write.

use prost::Message;

/// `ModelProto`, as far as it is written here.
#[derive(Clone, PartialEq, Message)]
pub struct Model {
    /// Version of the file format.
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    /// Who wrote it.
    #[prost(string, tag = "2")]
    pub producer: String,
    /// The graph.
    #[prost(message, optional, tag = "7")]
    pub graph: Option<Graph>,
    /// Versions of the operator sets.
    #[prost(message, repeated, tag = "8")]
    pub opsets: Vec<Opset>,
}

/// `OperatorSetIdProto`.
#[derive(Clone, PartialEq, Message)]
pub struct Opset {
    /// Operator domain.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// Its version.
    #[prost(int64, tag = "2")]
    pub version: i64,
}

/// `GraphProto`.
#[derive(Clone, PartialEq, Message)]
pub struct Graph {
    /// Operators.
    #[prost(message, repeated, tag = "1")]
    pub nodes: Vec<Node>,
    /// The graph's name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Constants.
    #[prost(message, repeated, tag = "5")]
    pub initialisers: Vec<TensorProto>,
    /// Inputs.
    #[prost(message, repeated, tag = "11")]
    pub inputs: Vec<ValueInfo>,
    /// Outputs.
    #[prost(message, repeated, tag = "12")]
    pub outputs: Vec<ValueInfo>,
    /// What is said of tensors.
    #[prost(message, repeated, tag = "14")]
    pub annotations: Vec<Annotation>,
}

/// `NodeProto`.
#[derive(Clone, PartialEq, Message)]
pub struct Node {
    /// Tensors read.
    #[prost(string, repeated, tag = "1")]
    pub inputs: Vec<String>,
    /// Tensors made.
    #[prost(string, repeated, tag = "2")]
    pub outputs: Vec<String>,
    /// The node's name.
    #[prost(string, tag = "3")]
    pub name: String,
    /// Operator.
    #[prost(string, tag = "4")]
    pub op: String,
    /// Attributes.
    #[prost(message, repeated, tag = "5")]
    pub attributes: Vec<Attribute>,
    /// Operator domain.
    #[prost(string, tag = "7")]
    pub domain: String,
}

/// `AttributeProto`.
#[derive(Clone, PartialEq, Message)]
pub struct Attribute {
    /// The attribute's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Value of type 1.
    #[prost(float, tag = "2")]
    pub float: f32,
    /// Value of type 2.
    #[prost(int64, tag = "3")]
    pub int: i64,
    /// Value of type 3.
    #[prost(bytes = "vec", tag = "4")]
    pub string: Vec<u8>,
    /// Value of type 4.
    #[prost(message, optional, tag = "5")]
    pub tensor: Option<TensorProto>,
    /// Value of type 7.
    #[prost(int64, repeated, tag = "8")]
    pub ints: Vec<i64>,
    /// Which of the values holds.
    #[prost(int32, tag = "20")]
    pub kind: i32,
}

/// `TensorProto`.
#[derive(Clone, PartialEq, Message)]
pub struct TensorProto {
    /// Extents.
    #[prost(int64, repeated, tag = "1")]
    pub dims: Vec<i64>,
    /// Element type: 1 float32, 7 int64, and so on.
    #[prost(int32, tag = "2")]
    pub kind: i32,
    /// float32 elements.
    #[prost(float, repeated, tag = "4")]
    pub floats: Vec<f32>,
    /// Elements of up to 32 bits.
    #[prost(int32, repeated, tag = "5")]
    pub int32s: Vec<i32>,
    /// int64 elements.
    #[prost(int64, repeated, tag = "7")]
    pub int64s: Vec<i64>,
    /// The tensor's name.
    #[prost(string, tag = "8")]
    pub name: String,
    /// Elements of any type, little-endian.
    #[prost(bytes = "vec", optional, tag = "9")]
    pub raw: Option<Vec<u8>>,
    /// Where data in another file is.
    #[prost(message, repeated, tag = "13")]
    pub external: Vec<Pair>,
    /// 1: the data is in another file.
    #[prost(int32, tag = "14")]
    pub location: i32,
}

/// `StringStringEntryProto`.
#[derive(Clone, PartialEq, Message)]
pub struct Pair {
    /// The key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its value.
    #[prost(string, tag = "2")]
    pub value: String,
}

impl Pair {
    /// A key and its value.
    pub fn new(key: &str, value: &str) -> Self {
        Self { key: key.into(), value: value.into() }
    }
}

/// `TensorAnnotation`.
#[derive(Clone, PartialEq, Message)]
pub struct Annotation {
    /// The tensor's name.
    #[prost(string, tag = "1")]
    pub tensor: String,
    /// What is said of it.
    #[prost(message, repeated, tag = "2")]
    pub pairs: Vec<Pair>,
}

/// `ValueInfoProto`.
#[derive(Clone, PartialEq, Message)]
pub struct ValueInfo {
    /// The tensor's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its type.
    #[prost(message, optional, tag = "2")]
    pub kind: Option<Type>,
}

/// `TypeProto` of a tensor.
#[derive(Clone, PartialEq, Message)]
pub struct Type {
    /// The tensor's type.
    #[prost(message, optional, tag = "1")]
    pub tensor: Option<TensorType>,
}

/// `TypeProto.Tensor`.
#[derive(Clone, PartialEq, Message)]
pub struct TensorType {
    /// Element type.
    #[prost(int32, tag = "1")]
    pub element: i32,
    /// Shape.
    #[prost(message, optional, tag = "2")]
    pub shape: Option<Shape>,
}

/// `TensorShapeProto`.
#[derive(Clone, PartialEq, Message)]
pub struct Shape {
    /// Axes.
    #[prost(message, repeated, tag = "1")]
    pub axes: Vec<Axis>,
}

/// `TensorShapeProto.Dimension`.
#[derive(Clone, PartialEq, Message)]
pub struct Axis {
    /// Extent; `None` writes none.
    #[prost(int64, optional, tag = "1")]
    pub extent: Option<i64>,
}

impl Attribute {
    /// A float attribute.
    pub fn float(name: &str, float: f32) -> Self {
        Self { name: name.into(), float, kind: 1, ..Self::default() }
    }

    /// An integer attribute.
    pub fn int(name: &str, int: i64) -> Self {
        Self { name: name.into(), int, kind: 2, ..Self::default() }
    }

    /// A string attribute.
    pub fn string(name: &str, string: &str) -> Self {
        Self { name: name.into(), string: string.into(), kind: 3, ..Self::default() }
    }

    /// A tensor attribute.
    pub fn tensor(name: &str, tensor: TensorProto) -> Self {
        Self { name: name.into(), tensor: Some(tensor), kind: 4, ..Self::default() }
    }

    /// A list of integers.
    pub fn ints(name: &str, ints: &[i64]) -> Self {
        Self { name: name.into(), ints: ints.into(), kind: 7, ..Self::default() }
    }
}

impl TensorProto {
    /// A float32 tensor, stored raw as exporters do.
    pub fn floats(name: &str, shape: &[usize], values: &[f32]) -> Self {
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self { name: name.into(), dims: dims(shape), kind: 1, raw: Some(raw), ..Self::default() }
    }

    /// An int64 tensor, stored raw.
    pub fn ints(name: &str, shape: &[usize], values: &[i64]) -> Self {
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self { name: name.into(), dims: dims(shape), kind: 7, raw: Some(raw), ..Self::default() }
    }
}

pub(super) fn dims(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&d| d as i64).collect()
}

pub(super) fn value_info(name: &str, shape: &[usize]) -> ValueInfo {
    let axes = dims(shape).into_iter().map(|d| Axis { extent: Some(d) }).collect();
    let tensor = TensorType { element: 1, shape: Some(Shape { axes }) };
    ValueInfo { name: name.into(), kind: Some(Type { tensor: Some(tensor) }) }
}
