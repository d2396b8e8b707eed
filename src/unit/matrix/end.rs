//! The end of a unit's pipeline: a stream register, and what moves the stages before it.

use stoxnor_hdl::block::{running_stream_register, stream_register};
use stoxnor_hdl::{Builder, InstanceId, Net, Stream};

use crate::schedule::Stalls;

/// The stream register behind a pipeline whose stages all stall together.
#[derive(Debug, Clone, Copy)]
pub struct PipelineEnd {
    register: InstanceId,
    stalls: Stalls,
    /// 1 where the stages move: the enable of their registers.
    pub run: Net,
    /// Equal to `run`, for handshakes and counters. Where a clock asks for short paths it comes from a flip-flop of its own: `run`
    /// reaches all registers of the pipeline, and the way to them is long.
    pub may: Net,
}

impl PipelineEnd {
    /// The end of a pipeline whose output has `width` data bits and `user` user bits; `m_ready` is the consumer's.
    pub fn new(b: &mut Builder, (width, user): (u32, u32), stalls: Stalls, m_ready: Net) -> Self {
        let module = match stalls {
            Stalls::Blocked => stream_register(width, user),
            Stalls::Full => running_stream_register(width, user),
        };
        let register = b.instance("u_out", &module);
        b.connect(register, "m_ready", m_ready);
        let run = b.wire("run", 1);
        let may = match stalls {
            Stalls::Blocked => run,
            Stalls::Full => b.out(register, "s_ready"),
        };
        Self { register, stalls, run, may }
    }

    /// Gives the last stage's beat to the stream register, and the register's beats to the output.
    pub fn finish(self, b: &mut Builder, result: Stream) {
        let moves = match self.stalls {
            // The last stage is empty, or its beat may leave: a full register alone does not stop earlier stages.
            Stalls::Blocked => {
                let room = b.out(self.register, "s_ready");
                let empty = b.not(result.valid);
                b.or(room, empty)
            }
            // The register's spare entry is empty: no path from other signals.
            Stalls::Full => b.out(self.register, "s_run"),
        };
        b.drive(self.run, moves);
        b.connect_stream(self.register, "s", result);
        let m = b.out_stream(self.register, "m");
        b.stream_output_forward("m", m);
    }
}
