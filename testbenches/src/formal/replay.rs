//! What is proved of replay buffers.

use stoxnor_hdl::block::{replay, replay_user};
use stoxnor_hdl::{bits_for, index_bits};

use super::Method;
use super::Proof;
use super::harness::Harness;

/// Every frame is given as often as its first beat says, beat by beat in order, at once and in place of none that is still to be given.
pub fn of_replay(beats: u32, width: u32, most: u32) -> Proof {
    let user = replay_user(most);
    let mut h = Harness::new(replay(beats, width, most));
    h.stream("s");
    h.stream("m");
    let end = beats - 1;
    // Frames are counted modulo 4. Coming: frame and beat that are written next.
    h.counter("coming_beat", beats.into(), "s_moves");
    h.counter("coming", 4, &format!("s_moves && coming_beat == {end}"));
    let passes = |frame: &str| match user {
        0 => "1'b1".to_owned(),
        _ => format!("(said[{frame}] == 0 || said[{frame}] > {most} ? {user}'d{most} : said[{frame}])"),
    };
    if user > 0 {
        h.add(format!("reg [{}:0] said_0, said_1, said_2, said_3;", user - 1));
        for k in 0..4 {
            let first = format!("s_moves && coming_beat == 0 && coming == {k}");
            h.add(format!("always @(posedge clk) if ({first}) said_{k} <= s_user;"));
        }
        h.add(format!("wire [{}:0] said [0:3];", user - 1));
        (0..4).for_each(|k| h.add(format!("assign said[{k}] = said_{k};")));
    }
    // Leaving: frame, pass and beat that are offered next; reading: the same for what is read from memory next.
    let [place, number] = [bits_for(beats.into()), bits_for(most.into())];
    h.add(format!(
        "reg [1:0] leaving; reg [{0}:0] leaving_pass; reg [{1}:0] leaving_beat;
         wire [{0}:0] leaving_passes = {2};
         wire leaving_last = leaving_pass + 1 == leaving_passes;
         wire leaving_end = leaving_beat == {end};
         wire [1:0] after = leaving_end && leaving_last ? leaving + 2'd1 : leaving;
         wire [{0}:0] after_pass = !leaving_end ? leaving_pass : leaving_last ? 0 : leaving_pass + 1'b1;
         wire [{1}:0] after_beat = leaving_end ? 0 : leaving_beat + 1'b1;
         always @(posedge clk)
         if (rst) begin leaving <= 0; leaving_pass <= 0; leaving_beat <= 0; end
         else if (m_moves) begin leaving <= after; leaving_pass <= after_pass; leaving_beat <= after_beat; end
         wire [1:0] reading = m_valid ? after : leaving;
         wire [{0}:0] reading_pass = m_valid ? after_pass : leaving_pass;
         wire [{1}:0] reading_beat = m_valid ? after_beat : leaving_beat;
         wire [{0}:0] reading_passes = {3};
         wire reading_last = reading_pass + 1 == reading_passes;
         wire [1:0] ahead = coming - reading;
         wire begun = ahead != 0 || coming_beat != 0;",
        number - 1,
        place - 1,
        passes("leaving"),
        passes("reading")
    ));
    let bits = bits_for(u64::from(4 * beats));
    h.add(format!(
        "wire [{bits}:0] there = ahead * {beats} + coming_beat;
         wire [{bits}:0] kept = there - (begun && reading_last ? reading_beat : 0);
         wire [{bits}:0] unread = there - (reading_pass == 0 ? reading_beat : {beats});
         wire readable = reading_pass != 0 || unread != 0;
         reg due; always @(posedge clk) due <= running & readable & (~m_valid | m_ready);"
    ));
    h.hold(format!("coming_beat < {beats} && leaving_beat < {beats} && leaving_pass < {most}"));
    h.hold(format!("ahead != 3 && there <= {} && (reading_pass == 0 || ahead != 0)", 3 * beats));
    h.hold("reading_pass != 0 || reading_beat <= there");
    h.hold("begun || (reading_pass == 0 && reading_beat == 0)");
    h.hold("!begun || reading_pass < reading_passes");
    h.hold("!m_valid || leaving_pass < leaving_passes");
    h.hold(format!("kept <= {} && s_ready == (kept < {})", 2 * beats, 2 * beats));
    h.hold("!due || m_valid");
    let depth = u64::from(2 * beats);
    h.show("used_q", bits_for(depth));
    h.show("unread_q", bits_for(depth));
    h.show("write_at_q", index_bits(depth));
    h.show("half_q", 1);
    h.hold("used_q_i == kept && unread_q_i == unread && half_q_i == reading[0]");
    h.hold(format!("write_at_q_i == coming[0] * {beats} + coming_beat"));
    h.show("read_at_q", index_bits(depth));
    h.hold(format!("read_at_q_i == reading[0] * {beats} + reading_beat"));
    h.show("full_q", 1);
    h.show("available_q", 1);
    h.hold(format!("full_q_i == (kept == {depth}) && available_q_i == readable"));
    h.ends("write_at", depth);
    if beats > 1 {
        h.show("position_q", index_bits(beats.into()));
        h.ends("position", beats.into());
        h.hold("position_q_i == reading_beat");
    }
    if user > 0 {
        h.show("some_unread_q", 1);
        h.hold("some_unread_q_i == (unread != 0)");
        h.show("first_pass_q", 1);
        h.hold("first_pass_q_i == (reading_pass == 0)");
        if beats > 1 {
            h.show("written_q", index_bits(beats.into()));
            h.ends("written", beats.into());
            h.hold("written_q_i == coming_beat");
            if h.show_if_there("written_first_q").is_some() {
                h.hold("written_first_q_i == (coming_beat == 0)");
            }
        }
        h.add(
            "wire [1:0] second = reading + 2'd1; wire [1:0] third = reading + 2'd2;
             wire [2:0] frames = ahead + (coming_beat != 0);",
        );
        for k in 0..3 {
            h.show(&format!("begun_{k}_q"), 1);
            h.hold(format!("begun_{k}_q_i == (frames > {k})"));
        }
        for what in ["further", "further_second", "further_third"] {
            h.show(&format!("{what}_q"), index_bits(most.into()));
        }
        h.show("last_pass_q", 1);
        h.hold("frames < 4 && (frames < 1 || further_q_i + reading_pass + 1 == reading_passes)");
        h.hold("frames < 1 || last_pass_q_i == reading_last");
        h.hold(format!("frames < 2 || further_second_q_i + 1 == {}", passes("second")));
        h.hold(format!("frames < 3 || further_third_q_i + 1 == {}", passes("third")));
    }
    h.any("frame", 4);
    h.any("beat", beats.into());
    h.keep("word", width + 1, "s_moves && coming == frame && coming_beat == beat", "{s_last, s_data}");
    h.add("wire [1:0] distance = frame - reading;");
    let written = "(distance < ahead || (distance == ahead && coming_beat > beat))";
    let freed = "(distance == 0 && reading_last && reading_beat > beat)";
    for at in 0..2 * beats {
        h.show_as(&format!("data_{at}"), &format!("data_words[{at}]"), width);
        h.show_as(&format!("last_{at}"), &format!("last_words[{at}]"), 1);
        let here = format!("frame[0] == {} && beat == {}", at / beats, at % beats);
        h.hold(format!("!({here} && {written} && !{freed}) || {{last_{at}, data_{at}}} == word"));
    }
    let offered = "m_valid && leaving == frame && leaving_beat == beat";
    h.hold(format!("!({offered}) || {{m_last, m_data}} == word"));
    h.hold("!m_valid || m_user == leaving_last");
    h.reach(format!("leaving == 2 && coming == 3 && coming_beat == {end}"), 4 * beats + 8);
    h.proof(format!("replay of {beats} beats, up to {most} times"), Method::Induction(2))
}
