"""The checks that a learner is graded on, and the catalogue of known mistakes.

EXERCISES names each exercise once. Nothing here imports torch: the checks describe what a worker is to
do (`asked.py`) and compare the numbers that come back.
"""

import importlib
import importlib.util
from dataclasses import dataclass


@dataclass(frozen=True)
class Mistake:
    """A known mistake: a small patch on the reference solution, and what to tell the learner.

    id:      its name in reports and JSON.
    name:    one line.
    why:     two or three sentences to the learner: what the code now does, why it is wrong, where to look.
    patches: (find, put) pairs; each `find` stands in the solution exactly once.
    area:    the beginning of the ids of the checks in which it is looked for first; "" for all of them.
    keeps:   whether its module remembers calls, so that each grade needs a fresh module.
    devices: whether all that is wrong is where tensors lie: the checks of devices alone see it.
    """

    id: str
    name: str
    why: str
    patches: tuple[tuple[str, str], ...]
    area: str = ""
    keeps: bool = False
    devices: bool = False

    def apply(self, solution: str) -> str:
        """The solution's source with the mistake in it. ValueError where a patch does not fit."""
        return patched(f"mistake {self.id}", solution, self.patches)


@dataclass(frozen=True)
class Style:
    """Another right way to write a part of the solution, in which mistakes must keep their names
    (grader/author/styles.py).

    id:      its name in the self-test.
    patches: (find, put) pairs; each `find` stands in the solution exactly once.
    mends:   ids of mistakes that are none, or another one, in this style although their patches fit.
    """

    id: str
    patches: tuple[tuple[str, str], ...]
    mends: tuple[str, ...] = ()

    def apply(self, solution: str) -> str:
        """The solution's source in this style. ValueError where a patch does not fit."""
        return patched(f"style {self.id}", solution, self.patches)


def patched(what: str, source: str, patches: tuple[tuple[str, str], ...]) -> str:
    """A source with patches applied one after the other. ValueError where one does not fit in exactly one
    place."""
    for find, put in patches:
        if source.count(find) != 1:
            raise ValueError(
                f"{what}: its patch must fit the solution in one place, and fits in {source.count(find)}: "
                f"{find!r}"
            )
        source = source.replace(find, put)
    return source


@dataclass(frozen=True)
class Exercise:
    """One exercise: its files, the checks that must all report, and what to tell a learner who has not begun.

    checks: the ids of the checks in the order in which they run; the judge fails a grade in which one
    of them did not report. training: those of them that train for long, and that --quick leaves out; at
    least one check that calls the same function is not among them, so that what is not written is seen.
    long: those of training that take many minutes, and that the self-test leaves out.
    uses: what to do with a file that passes, (text, command) pairs.
    of_menu: whether it is one of the further features, in more/, which `all` leaves out.
    """

    name: str
    title: str
    file: str
    asks: tuple[str, ...]
    checks: tuple[str, ...]
    training: tuple[str, ...] = ()
    uses: tuple[tuple[str, str], ...] = ()
    of_menu: bool = False
    long: tuple[str, ...] = ()

    @property
    def defines(self) -> tuple[str, ...]:
        """The names that a file of this exercise defines."""
        return tuple(name.strip() for asked in self.asks for name in asked.partition(":")[0].split(","))

    @property
    def attempt_path(self) -> str:
        """Where the learner's file stands, relative to the repository."""
        return f"exercises/{self._folder}{self.file}"

    @property
    def solution_path(self) -> str:
        """Where the solution stands, relative to the repository."""
        return f"solutions/{self._folder}{self.file}"

    @property
    def _folder(self) -> str:
        return "more/" if self.of_menu else ""

    @property
    def stub_path(self) -> str:
        """The path of the reference copy of the stub, relative to the repository."""
        return f"tests/exercises/{self.name}/stub.py"

    @property
    def checks_path(self) -> str:
        """The file of the checks, relative to the repository."""
        return f"tests/exercises/{self.name}/checks.py"

    def mistakes(self) -> tuple[Mistake, ...]:
        """The catalogue of this exercise."""
        return importlib.import_module(f"tests.exercises.{self.name}.mistakes").MISTAKES

    def styles(self) -> tuple[Style, ...]:
        """Other right ways to write its solution; none where nobody has written any."""
        name = f"tests.exercises.{self.name}.styles"
        return importlib.import_module(name).STYLES if importlib.util.find_spec(name) else ()


def ids(text: str) -> tuple[str, ...]:
    """The ids of checks, in the order in which they run."""
    return tuple(text.split())


def of_menu(
    name: str,
    title: str,
    asks: tuple[str, ...],
    checks: str,
    part: str = "",
    asked: str = "does it improve your GPT",
    training: str = "",
    long: str = "",
) -> Exercise:
    """An exercise of the menu, with what to do with a file that passes.

    part: the option by which gpt_core takes what the file defines, such as --norm MODULE:CLASS.
    asked: the question that its experiment answers; what ends in ":" is no question, and no experiment.
    training, long: as in Exercise.
    """
    question = asked if asked.endswith(":") else f"{asked}? The experiment:"
    train = f"python -m gpt_core.train toy --out runs/{name} {part}"
    uses = ((question, f"python exercises/more/{name}.py"),)
    uses += (("train a GPT with it:", train),) if part else ()
    return Exercise(name, title, f"{name}.py", asks, ids(checks), ids(training), uses, True, ids(long))


# Of a module (B, T, C) -> (B, T, C), the checks of the battery.
_MODULE = """
runs parameters trainable output values gradients batch_rows calls layouts input_kept dtypes bfloat16 devices
in_gpt"""

# Of an attention, those of dropout.
_DROPOUT = "dropout_weights dropout_output dropout_gradients dropout_eval dropout_modes"
# Of an attention, those of all its batteries; and of one with a KV cache.
_ATTENTION = f"""
runs parameters trainable output one_token first_token running_mean scale attention_matrix heads_apart
causality values large_logits gradients batch_rows calls layouts input_kept dtypes bfloat16 devices
{_DROPOUT} operations in_gpt"""
_CACHE = """
cached_whole cached_tokens cached_chunks cached_large cached_any cached_apart cached_full cached_forms
cached_work cached_heads cached_devices generates"""

MENU = (
    of_menu(
        "rmsnorm",
        "RMSNorm: a norm without a mean",
        ("RMSNorm: each token divided by the root mean square of its channels",),
        f"{_MODULE} ones epsilon large half",
        "--norm exercises.more.rmsnorm:RMSNorm",
    ),
    of_menu(
        "swiglu",
        "SwiGLU: a feed-forward with a gate",
        (
            "hidden_size: how many hidden units keep the number of parameters",
            "SwiGLU: the feed-forward in which each hidden unit has a gate",
        ),
        """
        runs hidden parameters trainable output gate values gradients batch_rows calls layouts
        input_kept dtypes bfloat16 devices dropout in_gpt
        """,
        "--feed-forward exercises.more.swiglu:SwiGLU",
    ),
    of_menu(
        "kvcache",
        "KV cache: a new token computes itself alone",
        ("CachedAttention: exercise 1's attention, with new_cache and forward_cached for texts that grow",),
        f"{_ATTENTION} {_CACHE}",
        "--attention exercises.more.kvcache:CachedAttention",
        "how many times faster does your GPT write, and what does the cache weigh",
    ),
    of_menu(
        "gqa",
        "grouped queries: fewer keys and values than heads",
        (
            "GroupedQueryAttention: an attention whose heads share keys and values in groups",
            "group_heads: make one of exercise 1's attention, with the mean of neighbouring heads",
        ),
        f"""
        {_ATTENTION.replace(" heads_apart", " built groups")} group_values group_gradients
        converted kept converted_devices
        """,
        "--attention exercises.more.gqa:GroupedQueryAttention",
        "how much faster does your GPT write, and how much smaller is its cache",
    ),
    of_menu(
        "window",
        "sliding window: only the last tokens are seen",
        ("SlidingWindowAttention: exercise 1's attention over the last few tokens",),
        f"""
        runs parameters refused trainable output one_token first_token running_mean scale attention_matrix
        heads_apart causality window values window_values window16 large_logits gradients window_gradients
        batch_rows calls layouts input_kept dtypes bfloat16 devices {_DROPOUT} operations in_gpt
        """,
        "--attention exercises.more.window:Window16",
    ),
    of_menu(
        "qknorm",
        "QK-norm: queries and keys of a bounded length",
        ("QKNormAttention: exercise 1's attention with its queries and keys normed",),
        f"""
        runs parameters trainable ones output one_token first_token running_mean norms epsilon
        attention_matrix heads_apart causality values large_logits gradients batch_rows calls layouts
        input_kept dtypes half bfloat16 devices {_DROPOUT} operations in_gpt
        """,
        "--attention exercises.more.qknorm:QKNormAttention",
    ),
    of_menu(
        "tying",
        "weight tying: one table for reading and for writing",
        ("TiedGPT: a GPT whose output weights are its token embedding",),
        "runs one parameters function gradients copies first_loss devices",
        "--model exercises.more.tying:TiedGPT",
    ),
    of_menu(
        "muon",
        "Muon: orthogonal updates",
        (
            "orthogonalise: a matrix with singular values near 1, by Newton-Schulz steps",
            "Muon: an optimizer with orthogonal updates, for matrices",
            "split_parameters: the matrices of a GPT's blocks, and all the rest",
        ),
        """
        runs step five any_scale dtypes update momentum decay groups no_gradient state refuses split
        devices
        """,
        "--optimizer exercises.more.muon:Muon",
        "in how many steps does it come to the loss at which AdamW ends",
    ),
    of_menu(
        "calculator",
        "calculator: + - * / with a scratchpad",
        (
            "encode, decode: a problem as text, with the steps of its answer",
            "make_batch, sample_problems: what a model trains on",
            "calculate: let a model write its answer",
            "train_calculator: a model that calculates what it has never seen",
        ),
        """
        runs
        encode_prompt encode_sum encode_difference encode_product encode_quotient encode_any encode_errors
        decode_numbers decode_errors
        batch_form batch_input batch_padding batch_places batch_targets batch_any batch_kept
        sample_form sample_range sample_held_out sample_seed sample_calls sample_operators sample_uniform
        sample_replacement sample_independent
        calculate_form calculate_prompt calculate_answer calculate_feedback calculate_stops
        calculate_unknown calculate_spaces calculate_signs calculate_refuses calculate_greedy
        calculate_eval calculate_mode calculate_gradients calculate_kept calculate_devices
        train_updates train_devices train_returned train_sizes train_parts train_problems train_seed
        train_report train_calculates
        """,
        asked="train your calculator, and ask it:",
        training="""
        train_returned train_sizes train_parts train_problems train_seed train_report train_calculates
        """,
        long="train_calculates",
    ),
)

EXERCISES = {
    exercise.name: exercise
    for exercise in (
        Exercise(
            name="ex1",
            title="fused attention: all heads at once",
            file="ex1_fused_attention.py",
            asks=(
                "FusedMultiHeadAttention: the lecture's MultiHeadAttention without its loop over the heads",
                "fuse_heads: copy the weights of a MultiHeadAttention into one",
            ),
            checks=ids(
                """
                runs parameters trainable output one_token first_token running_mean scale
                attention_matrix heads_apart causality values large_logits gradients
                batch_rows calls layouts input_kept dtypes bfloat16 devices dropout_weights dropout_output
                dropout_gradients dropout_eval dropout_modes operations in_gpt
                fuse_values fuse_copies fuse_dtype fuse_mode fuse_dropout fuse_block_size fuse_devices
                """
            ),
            uses=(
                (
                    "how many times faster than the loop over heads is it?",
                    "python exercises/ex1_fused_attention.py",
                ),
                (
                    "train a GPT with your attention:",
                    "python -m gpt_core.train toy --out runs/mine "
                    "--attention exercises.ex1_fused_attention:FusedMultiHeadAttention",
                ),
            ),
        ),
        Exercise(
            name="ex2",
            title="addition: a GPT that adds",
            file="ex2_addition.py",
            asks=(
                "encode_problem, decode_answer: a problem as text, with the digits of the sum reversed",
                "make_batch, masked_loss, sample_problems: what a model trains on",
                "add: let a model write its answers",
                "train_adder: a model that adds problems which it has never seen",
            ),
            checks=ids(
                """
                runs
                encode_problem_part encode_answer_part encode_any encode_errors
                decode_digits decode_errors
                batch_form batch_input batch_places batch_targets batch_any batch_kept batch_devices
                loss_value loss_gradient loss_masked_gradient loss_all_masked loss_large loss_layouts
                loss_kept loss_devices
                sample_form sample_range sample_held_out sample_seed sample_calls sample_uniform
                sample_replacement sample_independent sample_digits
                add_form add_prompt add_calls add_feedback add_answer add_any add_greedy add_eval
                add_mode add_gradients add_kept add_devices
                train_updates train_devices train_returned train_sizes train_parts train_problems train_seed
                train_report train_adds
                """
            ),
            training=ids(
                """
                train_returned train_sizes train_parts train_problems train_seed train_report train_adds
                """
            ),
            uses=(("train your adder, and see what it can do:", "python exercises/ex2_addition.py"),),
        ),
        Exercise(
            name="ex3",
            title="pretraining: pretrain, finetune, and prove that it helped",
            file="ex3_pretrain_finetune.py",
            asks=(
                "remove_overlap: pretraining text without what the model is measured on",
                "transfer_weights: weights into a model with another vocabulary, character by character",
                "finetune_optimizer: AdamW with decay on matrices alone",
                "finetune: a few steps from the transferred weights; the best weights come back",
            ),
            checks=ids(
                """
                runs
                overlap_line overlap_window overlap_inside_words overlap_case overlap_whitespace
                overlap_lines overlap_neighbours overlap_ends overlap_kept overlap_line_ends overlap_any
                overlap_fast
                transfer_returned transfer_blocks transfer_embedding transfer_output
                transfer_output_bias transfer_positions transfer_fresh transfer_any transfer_source_kept
                transfer_target_kept transfer_shares transfer_refuses transfer_untouched transfer_devices
                optimizer_type optimizer_once optimizer_frozen optimizer_decay optimizer_no_decay
                optimizer_lr optimizer_state optimizer_shared
                finetune_updates finetune_returned finetune_parts finetune_transfers finetune_lr
                finetune_small_lr finetune_part finetune_modes finetune_validation finetune_thawed
                finetune_kept finetune_short finetune_seed finetune_report finetune_devices finetune_improves
                finetune_best finetune_unseen finetune_helps
                """
            ),
            training=("finetune_improves", "finetune_best", "finetune_unseen", "finetune_helps"),
            uses=(
                (
                    "the experiment with your functions, on a small corpus:",
                    "python exercises/ex3_pretrain_finetune.py --size toy",
                ),
            ),
        ),
        Exercise(
            name="ex4",
            title="rotary embeddings: a paper's feature",
            file="ex4_rope.py",
            asks=(
                "rope_angles, apply_rope: rotate each pair of channels by an angle that grows with the "
                "position",
                "RotaryAttention: exercise 1's attention with its queries and keys rotated",
            ),
            checks=ids(
                """
                runs
                angles_form angles_own angles_odd angles_zero angles_spectrum angles_steps angles_base
                angles_large angles_any angles_calls angles_devices
                rope_form rope_own rope_zero rope_norms rope_linear rope_pairs rope_direction
                rope_relative rope_tokens rope_leading rope_row rope_large rope_any rope_dtypes
                rope_layouts rope_kept rope_gradients rope_devices
                parameters trainable output odd_attention one_token first_token running_mean rotated
                scale attention_matrix heads_apart causality values offset large_logits gradients
                batch_rows calls layouts input_kept dtypes bfloat16_late bfloat16_rotation bfloat16 devices
                dropout_weights dropout_output dropout_eval dropout_modes dropout_gradients operations in_gpt
                """
            ),
            uses=(("does it improve your GPT? The experiment:", "python exercises/ex4_rope.py"),),
        ),
        *MENU,
    )
}
FOUR = tuple(name for name, exercise in EXERCISES.items() if not exercise.of_menu)
