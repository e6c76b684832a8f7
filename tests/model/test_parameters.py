import pytest

from lalia.model.adapters import adapt_lora, adapt_soft_prompt
from toy_rater import SHARINGS, TRANSFORMER, make_encoder, make_rater


@pytest.mark.parametrize("family", ["wav2vec2", "hubert", "wavlm", "whisper"])
@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("transformer", [None, TRANSFORMER])
def test_parameter_table_counts_every_parameter_once(family, sharing, transformer):
    config = {"max_source_positions": 100} if family == "whisper" else {}
    settings = {"layers": "weighted", "pooling": "attention", "transformer": transformer, **sharing}
    rater = make_rater(encoder=make_encoder(family, **config), **settings)
    rows = rater.parameter_table()
    assert sum(row.trainable for row in rows) == sum(p.numel() for p in rater.parameters() if p.requires_grad)
    assert sum(row.frozen for row in rows) == sum(p.numel() for p in rater.parameters() if not p.requires_grad)


def test_parameter_table_shows_the_parts_in_order():
    rater = make_rater(layers="weighted", pooling="attention")
    rater.encoder.blocks[1].requires_grad_(True)
    rows = {row.module: row for row in rater.parameter_table() if row.module != "encoder, rest"}
    assert list(rows) == [
        *("stem", "block 1", "block 2", "output", "layer mix", "pooling"),
        *("head, shared", "head, breathy", "head, slow_rate"),
    ]
    assert rows["block 1"].trainable == 0 < rows["block 1"].frozen
    assert rows["block 2"].frozen == 0 < rows["block 2"].trainable
    assert rows["layer mix"] == ("layer mix", 3, 0)
    assert rows["head, breathy"] == ("head, breathy", 8 + 3, 0)


def test_separate_heads_have_a_row_per_trait_and_none_that_is_shared():
    names = [row.module for row in make_rater(shared=False).parameter_table()]
    assert names[-2:] == ["head, breathy", "head, slow_rate"]
    assert "head, shared" not in names


def test_adapters_count_in_their_block_and_a_prompt_has_its_row():
    encoder = make_encoder()
    adapt_lora(encoder, rank=2, targets=["q_proj"], last=1)
    rows = {row.module: row for row in make_rater(encoder=encoder).parameter_table()}
    assert (rows["block 1"].trainable, rows["block 2"].trainable) == (0, 2 * 2 * 16)
    assert rows["block 2"].frozen > 0
    prompted = make_encoder()
    adapt_soft_prompt(prompted, length=5, deep=True)
    rows = {row.module: row for row in make_rater(encoder=prompted).parameter_table()}
    assert rows["prompt"] == ("prompt", 2 * 5 * 16, 0)


def test_what_a_group_shares_is_a_row_by_its_name_with_its_transformer():
    def rows(**settings):
        groups = {"voice": [0], "articulation": [1]}
        table = make_rater(groups=groups, **settings).parameter_table()
        return {row.module: row.trainable for row in table if row.module.startswith("head")}

    plain, with_transformers = rows(), rows(transformer=TRANSFORMER)
    names = ["head, group voice", "head, group articulation", "head, breathy", "head, slow_rate"]
    assert list(plain) == list(with_transformers) == names
    assert plain["head, group voice"] < with_transformers["head, group voice"]
    assert plain["head, breathy"] == with_transformers["head, breathy"]
