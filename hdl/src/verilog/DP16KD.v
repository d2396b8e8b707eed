// A model of Lattice's ECP5 block RAM for the simulation of netlists: yosys' own cells_sim.v declares its ports only.
// Widths 1, 2, 4, 9, 18 on two ports, or 36 written on port A and read on port B; bytes are written by the low address bits of
// the wide forms. The output holds while a port is not enabled or writes in mode NORMAL. Chip selects other than 000 and
// asynchronous resets are not modelled.

// Compared strings have different lengths, which are widths to Verilator.
// verilator lint_off WIDTH
`default_nettype none

module DP16KD (
  input  wire DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0,
  input  wire ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
  input  wire CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
  output wire DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0,
  input  wire DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0,
  input  wire ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
  input  wire CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
  output wire DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0
);

  parameter DATA_WIDTH_A = 18, DATA_WIDTH_B = 18;
  parameter REGMODE_A = "NOREG", REGMODE_B = "NOREG";
  parameter RESETMODE = "SYNC", ASYNC_RESET_RELEASE = "SYNC", GSR = "AUTO", INIT_DATA = "STATIC";
  parameter CSDECODE_A = "0b000", CSDECODE_B = "0b000";
  parameter WRITEMODE_A = "NORMAL", WRITEMODE_B = "NORMAL";
  parameter CLKAMUX = "CLKA", CLKBMUX = "CLKB";
  parameter [319:0] INITVAL_00 = 320'd0, INITVAL_01 = 320'd0, INITVAL_02 = 320'd0, INITVAL_03 = 320'd0;
  parameter [319:0] INITVAL_04 = 320'd0, INITVAL_05 = 320'd0, INITVAL_06 = 320'd0, INITVAL_07 = 320'd0;
  parameter [319:0] INITVAL_08 = 320'd0, INITVAL_09 = 320'd0, INITVAL_0A = 320'd0, INITVAL_0B = 320'd0;
  parameter [319:0] INITVAL_0C = 320'd0, INITVAL_0D = 320'd0, INITVAL_0E = 320'd0, INITVAL_0F = 320'd0;
  parameter [319:0] INITVAL_10 = 320'd0, INITVAL_11 = 320'd0, INITVAL_12 = 320'd0, INITVAL_13 = 320'd0;
  parameter [319:0] INITVAL_14 = 320'd0, INITVAL_15 = 320'd0, INITVAL_16 = 320'd0, INITVAL_17 = 320'd0;
  parameter [319:0] INITVAL_18 = 320'd0, INITVAL_19 = 320'd0, INITVAL_1A = 320'd0, INITVAL_1B = 320'd0;
  parameter [319:0] INITVAL_1C = 320'd0, INITVAL_1D = 320'd0, INITVAL_1E = 320'd0, INITVAL_1F = 320'd0;
  parameter [319:0] INITVAL_20 = 320'd0, INITVAL_21 = 320'd0, INITVAL_22 = 320'd0, INITVAL_23 = 320'd0;
  parameter [319:0] INITVAL_24 = 320'd0, INITVAL_25 = 320'd0, INITVAL_26 = 320'd0, INITVAL_27 = 320'd0;
  parameter [319:0] INITVAL_28 = 320'd0, INITVAL_29 = 320'd0, INITVAL_2A = 320'd0, INITVAL_2B = 320'd0;
  parameter [319:0] INITVAL_2C = 320'd0, INITVAL_2D = 320'd0, INITVAL_2E = 320'd0, INITVAL_2F = 320'd0;
  parameter [319:0] INITVAL_30 = 320'd0, INITVAL_31 = 320'd0, INITVAL_32 = 320'd0, INITVAL_33 = 320'd0;
  parameter [319:0] INITVAL_34 = 320'd0, INITVAL_35 = 320'd0, INITVAL_36 = 320'd0, INITVAL_37 = 320'd0;
  parameter [319:0] INITVAL_38 = 320'd0, INITVAL_39 = 320'd0, INITVAL_3A = 320'd0, INITVAL_3B = 320'd0;
  parameter [319:0] INITVAL_3C = 320'd0, INITVAL_3D = 320'd0, INITVAL_3E = 320'd0, INITVAL_3F = 320'd0;

  // 1024 words of two bytes of 9 bits. Widths below 9 leave the ninth bits out.
  reg  [17:0] words [0:1023];
  reg  [35:0] latch_a, latch_b, out_a, out_b;

  task load(input [5:0] row, input [319:0] value);
    integer i;
    for (i = 0; i < 16; i = i + 1) words[{row, 4'd0} + i] = value[20*i +: 18];
  endtask

  initial begin
    latch_a = 36'd0;
    latch_b = 36'd0;
    out_a = 36'd0;
    out_b = 36'd0;
    load(6'd0, INITVAL_00); load(6'd1, INITVAL_01); load(6'd2, INITVAL_02); load(6'd3, INITVAL_03);
    load(6'd4, INITVAL_04); load(6'd5, INITVAL_05); load(6'd6, INITVAL_06); load(6'd7, INITVAL_07);
    load(6'd8, INITVAL_08); load(6'd9, INITVAL_09); load(6'd10, INITVAL_0A); load(6'd11, INITVAL_0B);
    load(6'd12, INITVAL_0C); load(6'd13, INITVAL_0D); load(6'd14, INITVAL_0E); load(6'd15, INITVAL_0F);
    load(6'd16, INITVAL_10); load(6'd17, INITVAL_11); load(6'd18, INITVAL_12); load(6'd19, INITVAL_13);
    load(6'd20, INITVAL_14); load(6'd21, INITVAL_15); load(6'd22, INITVAL_16); load(6'd23, INITVAL_17);
    load(6'd24, INITVAL_18); load(6'd25, INITVAL_19); load(6'd26, INITVAL_1A); load(6'd27, INITVAL_1B);
    load(6'd28, INITVAL_1C); load(6'd29, INITVAL_1D); load(6'd30, INITVAL_1E); load(6'd31, INITVAL_1F);
    load(6'd32, INITVAL_20); load(6'd33, INITVAL_21); load(6'd34, INITVAL_22); load(6'd35, INITVAL_23);
    load(6'd36, INITVAL_24); load(6'd37, INITVAL_25); load(6'd38, INITVAL_26); load(6'd39, INITVAL_27);
    load(6'd40, INITVAL_28); load(6'd41, INITVAL_29); load(6'd42, INITVAL_2A); load(6'd43, INITVAL_2B);
    load(6'd44, INITVAL_2C); load(6'd45, INITVAL_2D); load(6'd46, INITVAL_2E); load(6'd47, INITVAL_2F);
    load(6'd48, INITVAL_30); load(6'd49, INITVAL_31); load(6'd50, INITVAL_32); load(6'd51, INITVAL_33);
    load(6'd52, INITVAL_34); load(6'd53, INITVAL_35); load(6'd54, INITVAL_36); load(6'd55, INITVAL_37);
    load(6'd56, INITVAL_38); load(6'd57, INITVAL_39); load(6'd58, INITVAL_3A); load(6'd59, INITVAL_3B);
    load(6'd60, INITVAL_3C); load(6'd61, INITVAL_3D); load(6'd62, INITVAL_3E); load(6'd63, INITVAL_3F);
  end

  wire [13:0] ada = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0};
  wire [13:0] adb = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0};
  wire [17:0] dia = {DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0};
  wire [17:0] dib = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0};

  function [35:0] read(input integer width, input [13:0] at);
    reg [17:0] word;
    begin
      word = words[at[13:4]];
      case (width)
        36: read = {words[{at[13:5], 1'b1}], words[{at[13:5], 1'b0}]};
        18: read = {18'd0, word};
        9: read = {27'd0, word[9*at[3] +: 9]};
        4: read = {32'd0, word[9*at[3] + 4*at[2] +: 4]};
        2: read = {34'd0, word[9*at[3] + 2*at[2:1] +: 2]};
        default: read = {35'd0, word[9*at[3] + at[2:0]]};
      endcase
    end
  endfunction

  task write(input integer width, input [13:0] at, input [35:0] value);
    integer byte_index;
    case (width)
      36:
        for (byte_index = 0; byte_index < 4; byte_index = byte_index + 1)
          if (at[byte_index])
            words[{at[13:5], 1'b0} + byte_index / 2][9*(byte_index % 2) +: 9] = value[9*byte_index +: 9];
      18: begin
        if (at[0]) words[at[13:4]][8:0] = value[8:0];
        if (at[1]) words[at[13:4]][17:9] = value[17:9];
      end
      9: words[at[13:4]][9*at[3] +: 9] = value[8:0];
      4: words[at[13:4]][9*at[3] + 4*at[2] +: 4] = value[3:0];
      2: words[at[13:4]][9*at[3] + 2*at[2:1] +: 2] = value[1:0];
      default: words[at[13:4]][9*at[3] + at[2:0]] = value[0];
    endcase
  endtask

  wire clka = CLKAMUX == "INV" ? ~CLKA : CLKA;
  wire clkb = CLKBMUX == "INV" ? ~CLKB : CLKB;
  wire on_a = CEA && !{CSA2, CSA1, CSA0};
  wire on_b = CEB && !{CSB2, CSB1, CSB0};

  always @(posedge clka) begin : p_a
    if (OCEA) out_a <= RSTA ? 36'd0 : latch_a;
    if (RSTA) latch_a <= 36'd0;
    else if (on_a && (!WEA || WRITEMODE_A == "READBEFOREWRITE")) latch_a <= read(DATA_WIDTH_A, ada);
    if (on_a && WEA) begin
      write(DATA_WIDTH_A, ada, {dib, dia});
      if (!RSTA && WRITEMODE_A == "WRITETHROUGH") latch_a <= read(DATA_WIDTH_A, ada);
    end
  end

  always @(posedge clkb) begin : p_b
    if (OCEB) out_b <= RSTB ? 36'd0 : latch_b;
    if (RSTB) latch_b <= 36'd0;
    else if (on_b && (!WEB || WRITEMODE_B == "READBEFOREWRITE")) latch_b <= read(DATA_WIDTH_B, adb);
    if (on_b && WEB) begin
      write(DATA_WIDTH_B, adb, {18'd0, dib});
      if (!RSTB && WRITEMODE_B == "WRITETHROUGH") latch_b <= read(DATA_WIDTH_B, adb);
    end
  end

  wire [35:0] from_a = REGMODE_A == "OUTREG" ? out_a : latch_a;
  wire [35:0] from_b = REGMODE_B == "OUTREG" ? out_b : latch_b;
  assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0} = DATA_WIDTH_B == 36 ? from_b[17:0] : from_a[17:0];
  assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0} = DATA_WIDTH_B == 36 ? from_b[35:18] : from_b[17:0];

endmodule

`default_nettype wire
// verilator lint_on WIDTH
