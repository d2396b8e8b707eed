//! Nodes that work on images.

use super::Attribute;
use super::Builder;

/// How a kernel slides over an image: what `Conv` and the pooling operators have in common.
///
/// Lists have a number for each axis of the kernel; empty ones are not written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sliding<'a> {
    /// Taps.
    pub kernel: &'a [i64],
    /// Pixels from one position to the next.
    pub strides: &'a [i64],
    /// Pixels from one tap to the next.
    pub dilations: &'a [i64],
    /// Padding before each axis, then behind each.
    pub pads: &'a [i64],
    /// Whether a last position may reach beyond the image. Only pooling has it.
    pub ceil: bool,
}

impl<'a> Sliding<'a> {
    /// A kernel that steps by its own size: what pooling mostly does.
    pub fn apart(kernel: &'a [i64]) -> Self {
        Self { kernel, strides: kernel, ..Self::default() }
    }

    fn attributes(self) -> Vec<Attribute> {
        let lists = [
            ("kernel_shape", self.kernel),
            ("strides", self.strides),
            ("dilations", self.dilations),
            ("pads", self.pads),
        ];
        let lists = lists.iter().filter(|(_, list)| !list.is_empty());
        let mut attributes: Vec<Attribute> = lists.map(|(name, list)| Attribute::ints(name, list)).collect();
        if self.ceil {
            attributes.push(Attribute::int("ceil_mode", 1));
        }
        attributes
    }
}

impl Builder {
    /// Adds Conv with the tensor `w` [outputs, channels of a group, taps..] as weights, in so many groups. Its bias, if
    /// there is one, is a tensor of shape `[outputs]`.
    pub fn conv(&mut self, x: &str, w: &str, bias: Option<&str>, groups: i64, how: Sliding<'_>) -> String {
        let mut attributes = how.attributes();
        attributes.push(Attribute::int("group", groups));
        let inputs: Vec<&str> = [x, w].into_iter().chain(bias).collect();
        self.node("Conv", &inputs, attributes)
    }

    /// Adds MaxPool.
    pub fn max_pool(&mut self, x: &str, how: Sliding<'_>) -> String {
        self.node("MaxPool", &[x], how.attributes())
    }

    /// Adds AveragePool, which counts padding as zeros or not.
    pub fn average_pool(&mut self, x: &str, include_pad: bool, how: Sliding<'_>) -> String {
        let mut attributes = how.attributes();
        attributes.push(Attribute::int("count_include_pad", include_pad.into()));
        self.node("AveragePool", &[x], attributes)
    }

    /// Adds GlobalAveragePool.
    pub fn global_average_pool(&mut self, x: &str) -> String {
        self.node("GlobalAveragePool", &[x], Vec::new())
    }

    /// Adds Pad with a constant, in the form before operator set 11: what is before each axis, then behind each.
    pub fn pad(&mut self, x: &str, pads: &[i64], value: f32) -> String {
        self.node("Pad", &[x], vec![Attribute::ints("pads", pads), Attribute::float("value", value)])
    }

    /// Adds Pad in another mode than `constant`, in the form before operator set 11: what is before each axis, then behind each.
    pub fn pad_mode(&mut self, x: &str, mode: &str, pads: &[i64]) -> String {
        self.node("Pad", &[x], vec![Attribute::ints("pads", pads), Attribute::string("mode", mode)])
    }

    /// Adds Resize by linear interpolation, in the form of operator set 11: a factor for each axis, and how coordinates are mapped.
    pub fn interpolate(&mut self, x: &str, scales: &[f32], transformation: &str) -> String {
        let scales = self.floats(&[scales.len()], scales);
        let how = [("mode", "linear"), ("coordinate_transformation_mode", transformation)];
        self.node("Resize", &[x, "", &scales], how.map(|(name, v)| Attribute::string(name, v)).to_vec())
    }

    /// Adds Resize to the nearest neighbour, in the form of operator set 10: a factor for each axis, and rounding down.
    pub fn resize(&mut self, x: &str, scales: &[f32]) -> String {
        let scales = self.floats(&[scales.len()], scales);
        self.node("Resize", &[x, &scales], vec![Attribute::string("mode", "nearest")])
    }
}
