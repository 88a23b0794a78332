"""MIL programs: parse, walk, edit, verify, print and compare them.

``parse(text)`` gives a `Program` and ``str(program)`` its canonical text, the form Apple's own
compiler writes; the two are inverse to each other. See docs/mil-grammar.md for the language.
"""

from milane._core import mil as _mil
from milane.mil.attention import (
    gen_qkv,
    gen_qkv_forward_rms,
    gen_sdpa,
    gen_sdpa_apply_forward,
    gen_sdpa_forward,
    gen_sdpa_forward_taps,
    gen_sdpa_fwd_taps,
)
from milane.mil.backward import (
    gen_qkv_backward,
    gen_sdpa_backward1,
    gen_sdpa_backward2,
)
from milane.mil.classifier import gen_classifier_backward, gen_classifier_forward, gen_softmax_vocab
from milane.mil.conv import (
    gen_conv,
    gen_conv_dynamic_fp16,
    gen_conv_fp16,
    gen_conv_fp16_io,
    gen_conv_fp32,
    gen_identity,
    gen_identity_fp16_io,
    gen_scale_fp16_io,
)
from milane.mil.ffn import (
    gen_ffn_backward,
    gen_ffn_backward_relu2,
    gen_ffn_forward,
    gen_ffn_forward_relu2,
    gen_ffn_forward_rms,
    gen_ffn_forward_rms_relu2,
    gen_ffn_forward_taps,
    gen_ffn_forward_taps_relu2,
    gen_ffn_fwd_taps,
    gen_ffn_up,
)
from milane.mil.heads import gen_gqa_expand
from milane.mil.matmul import gen_dynamic_matmul, gen_matmul, gen_matmul_dynamic
from milane.mil.norm import (
    gen_final_rmsnorm,
    gen_final_rmsnorm_dynamic,
    gen_rmsnorm,
    gen_rmsnorm_backward,
    gen_rmsnorm_backward_dynamic,
)
from milane.mil.program import MILProgram, Weight
from milane.mil.quantized import gen_conv_compressed, gen_conv_int8, gen_w8a8_chain
from milane.mil.state import gen_read_state, gen_update_state
from milane.mil.text import CONV_CONST, MIL_HEADER
from milane.mil.training import (
    gen_ffn_bwd1_dynamic,
    gen_ffn_bwd2_dynamic,
    gen_ffn_fwd_dynamic,
    gen_kv_bwd_dynamic,
    gen_q_bwd_dynamic,
    gen_qkv_bwd_dynamic,
    gen_sdpa_bwd1_dynamic,
    gen_sdpa_bwd2_dynamic,
    gen_sdpa_fwd_dynamic,
    gen_wo_bwd_dynamic,
    gen_wo_fwd_dynamic,
)

Block = _mil.Block
Difference = _mil.Difference
Function = _mil.Function
NamedType = _mil.NamedType
ArgSchema = _mil.ArgSchema
OpSchema = _mil.OpSchema
Operation = _mil.Operation
Program = _mil.Program
Source = _mil.Source
Type = _mil.Type
Value = _mil.Value
diff = _mil.diff
load = _mil.load
ops = _mil.ops
parse = _mil.parse
read_source = _mil.read_source
resolve_weight_path = _mil.resolve_weight_path

__all__ = [
    "CONV_CONST",
    "MIL_HEADER",
    "ArgSchema",
    "Block",
    "Difference",
    "Function",
    "MILProgram",
    "NamedType",
    "OpSchema",
    "Operation",
    "Program",
    "Source",
    "Type",
    "Value",
    "Weight",
    "diff",
    "gen_classifier_backward",
    "gen_classifier_forward",
    "gen_conv",
    "gen_conv_compressed",
    "gen_conv_dynamic_fp16",
    "gen_conv_fp16",
    "gen_conv_fp16_io",
    "gen_conv_fp32",
    "gen_conv_int8",
    "gen_dynamic_matmul",
    "gen_ffn_backward",
    "gen_ffn_backward_relu2",
    "gen_ffn_bwd1_dynamic",
    "gen_ffn_bwd2_dynamic",
    "gen_ffn_forward",
    "gen_ffn_forward_relu2",
    "gen_ffn_forward_rms",
    "gen_ffn_forward_rms_relu2",
    "gen_ffn_forward_taps",
    "gen_ffn_forward_taps_relu2",
    "gen_ffn_fwd_dynamic",
    "gen_ffn_fwd_taps",
    "gen_ffn_up",
    "gen_final_rmsnorm",
    "gen_final_rmsnorm_dynamic",
    "gen_gqa_expand",
    "gen_identity",
    "gen_identity_fp16_io",
    "gen_kv_bwd_dynamic",
    "gen_matmul",
    "gen_matmul_dynamic",
    "gen_q_bwd_dynamic",
    "gen_qkv",
    "gen_qkv_backward",
    "gen_qkv_bwd_dynamic",
    "gen_qkv_forward_rms",
    "gen_read_state",
    "gen_rmsnorm",
    "gen_rmsnorm_backward",
    "gen_rmsnorm_backward_dynamic",
    "gen_scale_fp16_io",
    "gen_sdpa",
    "gen_sdpa_apply_forward",
    "gen_sdpa_backward1",
    "gen_sdpa_backward2",
    "gen_sdpa_bwd1_dynamic",
    "gen_sdpa_bwd2_dynamic",
    "gen_sdpa_forward",
    "gen_sdpa_forward_taps",
    "gen_sdpa_fwd_dynamic",
    "gen_sdpa_fwd_taps",
    "gen_softmax_vocab",
    "gen_update_state",
    "gen_w8a8_chain",
    "gen_wo_bwd_dynamic",
    "gen_wo_fwd_dynamic",
    "load",
    "ops",
    "parse",
    "read_source",
    "resolve_weight_path",
]
