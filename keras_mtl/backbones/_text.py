"""Raw texts: vectorization, an embedding and an encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_mtl._checks import check_integer, check_integers, check_number, check_one_of
from keras_mtl.backbones._base import Backbone, registry
from keras_mtl.backbones._text_encoders import convolutional, recurrent, transformer
from keras_mtl.backbones._text_layers import AtLeastOneToken, MaxOverTime, TokenEmbedding, WordDropout

# By the name of an encoder: its function, its arguments with their defaults, and its pooling.
_ENCODERS: dict[str, tuple[Callable[..., Any], dict[str, Any], str | None]] = {
    "convolutional": (convolutional, {"filters": 100, "kernel_sizes": (3, 4, 5)}, "max"),
    "recurrent": (recurrent, {"units": 128, "num_layers": 1}, None),
    "transformer": (transformer, {"units": 256, "num_layers": 2, "num_heads": 4}, None),
}
_STANDARDIZE = (None, "lower", "strip_punctuation", "lower_and_strip_punctuation")


@registry.register("text")
class Text(Backbone):
    """Raw texts: words become indices inside the model, then vectors, which an encoder reads.

    Strings `(batch,)` or `(batch, 1)` go in, so that the vocabulary is saved and exported with the model. It comes
    from `adapt`, or is given. What stands behind the end of a text changes nothing in its features; a text without
    words is read as a single place of padding.

    The encoders: `"convolutional"`, windows of several widths side by side and the maximum over all places, as in
    Y. Kim, "Convolutional Neural Networks for Sentence Classification", EMNLP 2014, small and fast, for sentences;
    `"recurrent"`, bidirectional GRUs; `"transformer"`, layers of attention that normalize first, as in R. Xiong et al.,
    "On Layer Normalization in the Transformer Architecture", ICML 2020, with sinusoidal positions. Differs from Kim in
    that windows reach over the ends of a text, and that the embeddings are random.

    Tasks that predict something for each token read the layer `"tokens"`, of the length of the longest text in the
    batch, or of `sequence_length`. The architecture `"hard"` finds it before the pooling; for others give
    `pooling=None`.

    Args:
        vocabulary: the words, without those for padding and for unknown words. Defaults to None: call `adapt`.
        encoder: `"convolutional"`, `"recurrent"` or `"transformer"`. Defaults to `"convolutional"`.
        max_tokens: the size of the vocabulary at most, those two included. Defaults to 20000.
        sequence_length: to how many tokens each text is cut or padded. Defaults to None: those of the longest text in
            the batch.
        embedding_dim: numbers of a word's vector. Defaults to 128.
        standardize: `"lower_and_strip_punctuation"`, `"lower"`, `"strip_punctuation"` or None, as in
            `keras.layers.TextVectorization`. Defaults to `"lower_and_strip_punctuation"`.
        split: `"whitespace"` or `"character"`. Defaults to `"whitespace"`.
        word_dropout: share of the words that are read as unknown in training. Defaults to 0.
        embedding_dropout: share of the embedding's numbers dropped in training. Defaults to 0.
        dropout: share of the features dropped in training, and of what the layers of a transformer hand on; Kim has
            0.5. Defaults to 0.
        filters: of the convolutional encoder: filters of each width. Defaults to 100.
        kernel_sizes: of the convolutional encoder: the widths of the windows, each of them once. Defaults to
            `(3, 4, 5)`.
        units: of the recurrent encoder: units of each direction, by default 128; of the transformer: units between the
            two dense layers of a layer, by default 256.
        num_layers: of the recurrent encoder and the transformer: how many layers, by default 1 and 2.
        num_heads: of the transformer: heads of attention, into which `embedding_dim` divides. Defaults to 4.
        pooling: `"max"` or `"mean"` over the places, or None: the output is a vector for each token, of which the tasks
            that read vectors take the mean. Defaults to `"auto"`: `"max"` for the convolutional encoder, else None.

    Raises:
        ValueError: if an argument is out of range or goes with another encoder. From `build`: without a vocabulary.

    Example:

    >>> from keras_mtl import backbones
    >>> text = backbones.Text(filters=8).adapt(["so good", "not so good", "bad"])
    >>> text.vocabulary
    ['so', 'good', 'not', 'bad']
    >>> text.build().output_shape
    (None, 24)
    """

    def __init__(
        self,
        vocabulary: Sequence[str] | None = None,
        encoder: str = "convolutional",
        *,
        max_tokens: int = 20000,
        sequence_length: int | None = None,
        embedding_dim: int = 128,
        standardize: str | None = "lower_and_strip_punctuation",
        split: str = "whitespace",
        word_dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        dropout: float = 0.0,
        filters: int | None = None,
        kernel_sizes: Sequence[int] | None = None,
        units: int | None = None,
        num_layers: int | None = None,
        num_heads: int | None = None,
        pooling: str | None = "auto",
    ) -> None:
        self.encoder = check_one_of(encoder, "encoder", _ENCODERS)
        self.max_tokens = check_integer(max_tokens, "max_tokens", minimum=3)
        self.vocabulary = None if vocabulary is None else _check_vocabulary(vocabulary, self.max_tokens)
        self.sequence_length = None if sequence_length is None else check_integer(sequence_length, "sequence_length")
        self.embedding_dim = check_integer(embedding_dim, "embedding_dim")
        self.standardize = check_one_of(standardize, "standardize", _STANDARDIZE)
        self.split = check_one_of(split, "split", ("whitespace", "character"))
        self.word_dropout = check_number(word_dropout, "word_dropout", below=1.0)
        self.embedding_dropout = check_number(embedding_dropout, "embedding_dropout", below=1.0)
        self.dropout = check_number(dropout, "dropout", below=1.0)
        self.pooling = check_one_of(pooling, "pooling", ("auto", "max", "mean", None))
        given = {"filters": filters, "units": units, "num_layers": num_layers, "num_heads": num_heads}
        _check_goes_with({**given, "kernel_sizes": kernel_sizes}, self.encoder)
        self.filters, self.units, self.num_layers, self.num_heads = (
            None if value is None else check_integer(value, parameter) for parameter, value in given.items()
        )
        self.kernel_sizes = None if kernel_sizes is None else check_integers(kernel_sizes, "kernel_sizes")
        if self.kernel_sizes is not None and not 0 < len(set(self.kernel_sizes)) == len(self.kernel_sizes):
            raise ValueError(
                "Parameter `kernel_sizes` should be different widths, one at least. Received: "
                f"kernel_sizes={kernel_sizes!r}"
            )
        heads = self._encoder_arguments().get("num_heads", 1)
        if self.embedding_dim % heads:
            raise ValueError(
                f"Parameter `embedding_dim` should be a multiple of `num_heads`. Received: embedding_dim="
                f"{embedding_dim}, num_heads={heads}"
            )

    def adapt(self, texts: Any) -> Text:
        """Takes the most frequent words as the vocabulary: those of the training texts, and of no others.

        Args:
            texts: an array or a list of strings, or a `tf.data.Dataset` of such batches.

        Returns:
            The backbone itself.

        Raises:
            ValueError: if there are no words.
        """
        layer = self._vectorization(max_tokens=self.max_tokens)
        layer.adapt(list(texts) if isinstance(texts, tuple) else texts)
        vocabulary = [str(word) for word in layer.get_vocabulary(include_special_tokens=False)]
        if not vocabulary:
            raise ValueError(f"Parameter `texts` should be strings with words. Received: texts={texts!r}")
        self.vocabulary = vocabulary
        return self

    def build(self) -> keras.Model:
        """A new model from strings `(batch,)` to vectors `(batch, channels)`, or `(batch, length, channels)`."""
        if self.vocabulary is None:
            raise ValueError(
                "A `Text` backbone needs its vocabulary. Received: vocabulary=None. Call `adapt` with the training "
                "texts, or give `vocabulary`."
            )
        inputs = keras.Input((), dtype="string", name="text")
        x = self._vectorization(vocabulary=self.vocabulary)(inputs)
        if self.sequence_length is None:
            x = AtLeastOneToken(name="at_least_one_token")(x)
        if self.word_dropout:
            x = WordDropout(self.word_dropout, name="word_dropout")(x)
        x = TokenEmbedding(len(self.vocabulary) + 2, self.embedding_dim, name="embedding")(x)
        if self.embedding_dropout:
            x = keras.layers.Dropout(self.embedding_dropout, name="embedding_dropout")(x)
        encode, _, pooling = _ENCODERS[self.encoder]
        x = encode(x, dropout=self.dropout, **self._encoder_arguments())
        pooling = pooling if self.pooling == "auto" else self.pooling
        if pooling == "max":
            x = MaxOverTime(name="max_over_time")(x)
        elif pooling == "mean":
            x = keras.layers.GlobalAveragePooling1D(name="mean_over_time")(x)
        if self.dropout:
            x = keras.layers.Dropout(self.dropout, name="dropout")(x)
        return keras.Model(inputs, x, name="text_backbone")

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`, with the vocabulary that `adapt` has found."""
        return {
            "vocabulary": None if self.vocabulary is None else list(self.vocabulary),
            "encoder": self.encoder,
            "max_tokens": self.max_tokens,
            "sequence_length": self.sequence_length,
            "embedding_dim": self.embedding_dim,
            "standardize": self.standardize,
            "split": self.split,
            "word_dropout": self.word_dropout,
            "embedding_dropout": self.embedding_dropout,
            "dropout": self.dropout,
            "filters": self.filters,
            "kernel_sizes": None if self.kernel_sizes is None else list(self.kernel_sizes),
            "units": self.units,
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "pooling": self.pooling,
        }

    def _vectorization(self, **arguments: Any) -> keras.layers.TextVectorization:
        return keras.layers.TextVectorization(
            standardize=self.standardize,
            split=self.split,
            output_sequence_length=self.sequence_length,
            name="text_vectorization",
            **arguments,
        )

    def _encoder_arguments(self) -> dict[str, Any]:
        _, defaults, _ = _ENCODERS[self.encoder]
        given = {name: getattr(self, name) for name in defaults}
        return {name: defaults[name] if value is None else value for name, value in given.items()}


def _check_vocabulary(value: Any, max_tokens: int) -> list[str]:
    words = None if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__") else list(value)
    if not words or not all(isinstance(word, str) and word for word in words) or len(set(words)) < len(words):
        raise ValueError(
            "Parameter `vocabulary` should be different words, strings, without those for padding and for unknown "
            f"words. Received: vocabulary={value!r:.200}"
        )
    if len(words) + 2 > max_tokens:
        raise ValueError(
            f"Parameter `vocabulary` should have at most {max_tokens - 2} words, which leaves two of `max_tokens` for "
            f"padding and for unknown words. Received: {len(words)} words, max_tokens={max_tokens}"
        )
    return [str(word) for word in words]


def _check_goes_with(given: dict[str, Any], encoder: str) -> None:
    """Raises a `ValueError` if an argument is given that another encoder has."""
    for parameter, value in given.items():
        if value is not None and parameter not in _ENCODERS[encoder][1]:
            takers = [name for name, (_, defaults, _) in _ENCODERS.items() if parameter in defaults]
            raise ValueError(
                f"Parameter `{parameter}` goes with encoder={' or '.join(map(repr, takers))}. "
                f"Received: {parameter}={value!r}, encoder={encoder!r}"
            )
