import math
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field, model_validator

from t2a.config import Config, dump, load, validate
from t2a.errors import ConfigError


class Inner(Config):
    width: int = 8
    rate: float = 1e-3


class CodecTask(Config):
    kind: Literal["codec"] = "codec"
    channels: int = 1
    codec: Inner = Inner()


class LmTask(Config):
    kind: Literal["lm"] = "lm"
    depth: int = 2
    blocks: tuple[Inner, ...] = ()


AnyTask = Annotated[CodecTask | LmTask, Field(discriminator="kind")]


class Recipe(Config):
    name: str
    steps: int = 10
    task: AnyTask
    extra_tasks: dict[str, AnyTask] = Field(default_factory=dict)
    optim: dict[str, Inner] = Field(default_factory=dict)
    precision: Literal["fp32", "bf16"] = "fp32"
    clip: float | Literal["off"] = "off"
    note: str | None = None

    @model_validator(mode="after")
    def _steps_fit(self) -> "Recipe":
        if self.steps > 1000:
            raise ValueError("more than 1000 steps; lower `steps`.")
        return self


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return write(tmp_path, "r.yaml", "name: a\ntask: {kind: codec, channels: 2, codec: {width: 4}}\n")


def message(call) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        call()
    return [line.strip() for line in str(caught.value).splitlines()]


def test_recipe_loads_with_defaults_and_is_frozen(recipe: Path) -> None:
    config = load(Recipe, recipe)
    assert config.task == CodecTask(channels=2, codec=Inner(width=4))
    with pytest.raises(ValueError, match="frozen"):
        config.steps = 3  # type: ignore[misc]


def test_base_chain_is_relative_to_each_file_and_merges_key_by_key(tmp_path: Path) -> None:
    write(tmp_path, "deep/root.yaml", "name: root\nsteps: 1\ntask: {kind: codec, channels: 3}\n")
    write(tmp_path, "deep/mid.yaml", "base: root.yaml\nsteps: 2\n")
    top = write(tmp_path, "top.yaml", "base: deep/mid.yaml\ntask: {codec: {width: 5}}\n")
    config = load(Recipe, top)
    assert (config.name, config.steps) == ("root", 2)
    assert config.task == CodecTask(channels=3, codec=Inner(width=5))


def test_later_bases_of_a_list_win(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "name: a\nsteps: 1\n")
    write(tmp_path, "b.yaml", "name: b\ntask: {kind: lm}\n")
    config = load(Recipe, write(tmp_path, "c.yaml", "base: [a.yaml, b.yaml]\n"))
    assert (config.name, config.steps) == ("b", 1)


def test_base_cycle_is_named(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "base: b.yaml\n")
    write(tmp_path, "b.yaml", "base: a.yaml\n")
    assert "a.yaml -> b.yaml -> a.yaml" in message(lambda: load(Recipe, tmp_path / "a.yaml"))[0]


def test_missing_base_names_both_files(tmp_path: Path) -> None:
    text = message(lambda: load(Recipe, write(tmp_path, "a.yaml", "base: gone.yaml\n")))[0]
    assert "gone.yaml" in text
    assert "a.yaml" in text


def test_a_changed_kind_replaces_the_mapping_of_the_base(tmp_path: Path, recipe: Path) -> None:
    top = write(tmp_path, "top.yaml", "base: r.yaml\ntask: {kind: lm, depth: 7}\n")
    assert load(Recipe, top).task == LmTask(depth=7)


@pytest.mark.parametrize(
    "overrides", [["task.kind=lm", "task.depth=9"], ["task.depth=9", "task.kind=lm"], ["task={kind: lm, depth: 9}"]]
)
def test_a_changed_kind_in_overrides_replaces_the_mapping_in_any_order(recipe: Path, overrides: list[str]) -> None:
    assert load(Recipe, recipe, overrides).task == LmTask(depth=9)


def test_the_same_kind_keeps_the_mapping(recipe: Path) -> None:
    assert load(Recipe, recipe, ["task.kind=codec"]).task == CodecTask(channels=2, codec=Inner(width=4))


def test_overrides_are_yaml_and_reach_new_places(recipe: Path) -> None:
    config = load(Recipe, recipe, ["optim.lm.rate=3e-4", "note=a=b", "clip=0.5", "task.codec.width=16", "note=null"])
    assert config.optim == {"lm": Inner(rate=3e-4)}
    assert config.note is None
    assert config.clip == 0.5
    assert config.task == CodecTask(channels=2, codec=Inner(width=16))


def test_overrides_reach_list_items_by_index(tmp_path: Path) -> None:
    path = write(tmp_path, "l.yaml", "name: a\ntask: {kind: lm, blocks: [{width: 1}, {width: 2, rate: 5}]}\n")
    assert load(Recipe, path, ["task.blocks.1.width=9"]).task == LmTask(blocks=(Inner(width=1), Inner(width=9, rate=5)))
    assert any(
        "task.blocks.2: there are only 2 items" in m for m in message(lambda: load(Recipe, path, ["task.blocks.2=1"]))
    )


@pytest.mark.parametrize(
    ("text", "value"), [("3e-4", 3e-4), ("1E5", 1e5), ("-2.5e+3", -2500.0), ("1.e-2", 0.01), ("7", 7.0)]
)
def test_exponents_without_a_dot_are_numbers(tmp_path: Path, text: str, value: float) -> None:
    path = write(tmp_path, "e.yaml", f"name: a\ntask: {{kind: lm}}\noptim: {{x: {{rate: {text}}}}}\nnote: '{text}'\n")
    config = load(Recipe, path)
    assert config.optim["x"].rate == value
    assert config.note == text


def test_every_error_is_told_at_once_with_suggestions(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "bad.yaml",
        """
        stps: 3
        steps: many
        precision: fp23
        task: {kind: codec, channelss: 2, codec: {widdth: 3}}
        extra_tasks: {one: {kind: lmm}, two: {depth: 3}, three: {kind: lm, blocks: [{}, {rat: 1}]}}
        optim: {lm: {rate: fast, zzz: 1}}
        clip: on-ish
        """,
    )
    lines = message(lambda: load(Recipe, path, ["nonsense", "task.codec.rate=[1"]))
    assert lines[0].endswith("bad.yaml: 14 errors")
    expected = [
        "name: missing",
        "stps: unknown key (did you mean steps?)",
        "steps: should be a valid integer, unable to parse string as an integer, not 'many'",
        "precision: should be 'fp32' or 'bf16', not 'fp23' (did you mean fp32?)",
        "task.channelss: unknown key (did you mean channels?)",
        "task.codec.widdth: unknown key (did you mean width?)",
        "extra_tasks.one.kind: unknown kind 'lmm' (did you mean lm?)",
        "extra_tasks.two.kind: missing (one of: codec, lm)",
        "extra_tasks.three.blocks.1.rat: unknown key (did you mean rate?)",
        "optim.lm.zzz: unknown key (one of: width, rate)",
        "'nonsense': an override has the form key=value or key.sub=value",
    ]
    for line in expected:
        assert line in lines
    assert any(line.startswith("override 'task.codec.rate=[1'") and "not valid YAML" in line for line in lines)
    assert any(line.startswith("clip: ") and " or should be 'off'" in line for line in lines)
    assert any(line.startswith("optim.lm.rate: should be a valid number") for line in lines)


def test_a_validator_of_ours_speaks_without_decoration(recipe: Path) -> None:
    assert message(lambda: load(Recipe, recipe, ["steps=2000"]))[1] == "recipe: more than 1000 steps; lower `steps`"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("name: a\nname: b\n", "line 2, column 1: not valid YAML: the key 'name' is given twice"),
        ("task: {kind: lm, kind: lm}", "the key 'kind' is given twice"),
        ("a: [1", "not valid YAML"),
        ("- 1\n", "is a mapping"),
        ("base: 3\n", "`base:` is a file name"),
        ("a: !!python/object:os.system {}", "not valid YAML"),
    ],
)
def test_unusable_files_get_one_sentence(tmp_path: Path, text: str, part: str) -> None:
    assert part in message(lambda: load(Recipe, write(tmp_path, "x.yaml", text)))[0]


def test_unreadable_files_get_one_sentence(tmp_path: Path) -> None:
    assert "No such file" in message(lambda: load(Recipe, tmp_path / "none.yaml"))[0]
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in message(lambda: load(Recipe, tmp_path / "b.yaml"))[0]


def test_an_empty_recipe_reports_what_is_missing(tmp_path: Path) -> None:
    assert message(lambda: load(Recipe, write(tmp_path, "x.yaml", "")))[1:] == ["name: missing", "task: missing"]


def test_validate_names_the_origin() -> None:
    assert message(lambda: validate(Recipe, {"name": 3, "task": {"kind": "lm"}}, "the search space")) == [
        "the search space: 1 error",
        "name: should be a valid string, not 3",
    ]


# Each example writes a file: on a busy machine one may take longer than hypothesis waits.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12)
    | st.sampled_from(["3e-4", "1E5", "on", "null", "1_0", "0x1F", "1e", "~", "2024-01-01", ""]),
    rate=st.floats(allow_nan=False),
    note=st.none() | st.sampled_from(["5", "true", "yes"]),
)
def test_dump_loads_to_an_equal_config(tmp_path_factory: pytest.TempPathFactory, name, rate, note) -> None:
    config = Recipe(name=name, task=LmTask(blocks=(Inner(rate=rate),)), optim={"1e3": Inner(rate=rate)}, note=note)
    path = write(tmp_path_factory.mktemp("dump"), "r.yaml", dump(config))
    assert load(Recipe, path) == config


def test_infinity_survives_a_dump(tmp_path: Path) -> None:
    config = Recipe(name="a", task=CodecTask(codec=Inner(rate=math.inf)))
    assert load(Recipe, write(tmp_path, "r.yaml", dump(config))).task.codec.rate == math.inf
