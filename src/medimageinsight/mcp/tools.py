"""The tools' work: names to files, the Python API, and results; no protocol.

The error of an image is in its result; an error of the whole call is raised.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from medimageinsight import images, schemas, search
from medimageinsight.errors import InputError
from medimageinsight.mcp.files import Thumbnails, find_file, open_source
from medimageinsight.mcp.label_examples import find_label_examples
from medimageinsight.mcp.results import (
    ToolResult,
    classified,
    classified_image,
    evidence,
    found_neighbours,
    hit_members,
    in_brackets,
    rounded,
    summary,
    warnings_of,
)
from medimageinsight.serve.image_choice import ImageChoice, check_choice
from medimageinsight.studies import DEFAULT_POOLING
from medimageinsight.tasks import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from medimageinsight.api import MedImageInsight
    from medimageinsight.search import Store
    from medimageinsight.tagging import ImageTags, Tagger

MAX_THUMBNAILS = 8  # of an answer: an image costs an agent about as much as a page of text


@dataclass(frozen=True, kw_only=True, eq=False)
class Tools:
    """What the tools work with.

    Args:
        model: The model, also of every store and tagger.
        folders: Absolute; files below them may be read, no others.
        stores: By the names that tools use.
        taggers: By the names that tools use.
        limits: What an image may not exceed.
    """

    model: MedImageInsight
    folders: Sequence[Path]
    stores: Mapping[str, Store] = field(default_factory=dict)
    taggers: Mapping[str, Tagger] = field(default_factory=dict)
    limits: images.Limits = field(default_factory=images.Limits)

    def classify(self, arguments: schemas.ClassifyArguments) -> ToolResult:
        """Classify images by labels, or by the neighbours in a store with a column of labels."""
        names, labels = arguments.images, arguments.labels
        if (labels is None) == (arguments.label_column is None):
            raise InputError(
                "expected either labels, or a store and its label_column, got both or neither", code="classify_what"
            )
        if labels is None:
            return self._classify_by_neighbours(arguments)
        if arguments.store is not None or arguments.where is not None:
            raise InputError(
                "expected store and where with label_column alone, got them with labels: leave them out",
                code="classify_what",
            )
        found = self._for_each(
            names,
            lambda sources: self.model.zero_shot(
                sources, labels, template=arguments.template, errors="return", window=arguments.window
            ),
            _choose(arguments),
        )
        return classified([classified_image(name, result) for name, result in zip(names, found, strict=True)], found)

    def _classify_by_neighbours(self, arguments: schemas.ClassifyArguments) -> ToolResult:
        _, store = self._store(arguments.store)
        thumbnails = self._thumbnails(arguments.thumbnails)
        found = self._for_each(
            arguments.images,
            lambda sources: search.classify(
                self.model,
                store,
                sources,
                label=str(arguments.label_column),
                k=arguments.k,
                where=arguments.where,
                window=arguments.window,
                errors="return",
            ),
            _choose(arguments),
        )
        results = [
            classified_image(name, result)
            if isinstance(result, InputError)
            else classified_image(name, result, found_neighbours(result, thumbnails), result)
            for name, result in zip(arguments.images, found, strict=True)
        ]
        return classified(results, thumbnails=thumbnails.encoded)

    def search(self, arguments: schemas.SearchArguments) -> ToolResult:
        """Find the stored images that are nearest to an image, a text or a stored image."""
        name, store = self._store(arguments.store)
        thumbnails = self._thumbnails(arguments.thumbnails)
        hits = search.search(
            self.model,
            store,
            image=None if arguments.image is None else self._source(arguments.image, _choose(arguments)),
            text=arguments.text,
            item_id=arguments.id,
            k=arguments.k,
            where=arguments.where,
            min_score=arguments.min_score,
            exclude_same=arguments.exclude_same,
            window=arguments.window,
        )
        found = [schemas.FoundImage(**hit_members(hit, thumbnails)) for hit in hits]
        lines = [f"{hit.score:.3f} {hit.id}{in_brackets(hit.metadata)}" for hit in found]
        head = f"{len(hits)} of {name}, best first:" if hits else f"nothing was found in {name}"
        return ToolResult(
            data=schemas.FoundImages(store=name, hits=found), text=summary(head, lines), thumbnails=thumbnails.encoded
        )

    def compare(self, arguments: schemas.CompareArguments) -> ToolResult:
        """Compute cosine similarities of images and texts."""
        a, b = arguments.a, arguments.b
        choice = _choose(arguments)
        rows = self._sources("a", a, choice)
        columns = None if b is None else self._sources("b", b, choice)
        try:
            matrix = self.model.compare(rows, columns, window=arguments.window)
        except InputError:
            self._find_failing(arguments, a=rows, b=columns or [])
            raise
        names, column_names = ([item.value for item in items] for items in (a, a if b is None else b))
        data = schemas.ComparedItems(
            rows=names,
            columns=column_names,
            similarity=[[rounded(value) for value in row] for row in matrix],
        )
        lines = [
            f"{name}: " + ", ".join(f"{column_names[index]} {row[index]:.3f}" for index in _highest(row))
            for name, row in zip(names, data.similarity, strict=True)
        ]
        return ToolResult(data=data, text=summary("the most similar of each:", lines))

    def tag(self, arguments: schemas.TagArguments) -> ToolResult:
        """Tag images by a vocabulary or by one of the server's taggers."""
        if (arguments.vocabulary is None) == (arguments.tagger is None):
            raise InputError("expected either a vocabulary or a tagger, got both or neither", code="tagger_missing")
        tags: str | Tagger
        window = arguments.window
        if arguments.tagger is None:
            tags = str(arguments.vocabulary)
        else:
            tagger: Tagger = _find(self.taggers, arguments.tagger, "tagger")
            tags, window = tagger, window or tagger.model.preprocessing.get("window")
        found = self._for_each(
            arguments.images,
            lambda sources: self.model.tag(
                sources, tags, threshold=arguments.threshold, errors="return", window=window
            ),
            _choose(arguments),
        )
        results = [_tagged_image(name, result) for name, result in zip(arguments.images, found, strict=True)]
        lines = [
            f"{image.image}: {image.error.message if image.error else ', '.join(image.present) or 'none of the tags'}"
            f"{evidence(image.cosine, image.unlike_validation)}"
            for image in results
        ]
        warnings = warnings_of(found)
        data = schemas.TaggedImages(results=results, warnings=warnings)
        return ToolResult(data=data, text=summary("tags that are present:", lines, warnings=warnings))

    def label_examples(self, arguments: schemas.LabelExamplesArguments) -> ToolResult:
        """Find example prompts in the form that the model was trained with."""
        data = find_label_examples(self.model.name, arguments)
        head = f"{data.total} examples, the form is: {data.form}"
        if not data.matched:
            head = f"nothing has a word of the query; examples of other things, the form is: {data.form}"
        lines = [example.prompt for example in data.examples]
        return ToolResult(data=data, text=summary(head, lines, max_lines=arguments.limit))

    def _store(self, name: str | None) -> tuple[str, Store]:
        """Return the named store; the only one where none is named."""
        if name is None and len(self.stores) == 1:
            name = next(iter(self.stores))
        return str(name), _find(self.stores, name, "store")

    def _thumbnails(self, requested: bool) -> Thumbnails:
        return Thumbnails(folders=self.folders if requested else (), max_count=MAX_THUMBNAILS, limits=self.limits)

    def _source(self, name: str, choice: ImageChoice) -> Any:  # noqa: ANN401 - an image source
        return open_source(find_file(name, self.folders), choice, self.limits)

    def _for_each(
        self, names: Sequence[str], work: Callable[[list[Any]], Sequence[Any]], choice: ImageChoice
    ) -> list[Any]:
        """Return the work's result for each file that may be read, and the error of each of the others, in order."""
        found: list[Any] = []
        for name in names:
            try:
                found.append(self._source(name, choice))
            except InputError as error:
                found.append(error)
        sources = [source for source in found if not isinstance(source, InputError)]
        results = iter(work(sources) if sources else ())
        return [source if isinstance(source, InputError) else next(results) for source in found]

    def _sources(self, argument: str, items: Sequence[schemas.CompareFile], choice: ImageChoice) -> list[Any]:
        sources: list[Any] = []
        for index, item in enumerate(items):
            with _locating(argument, index):
                sources.append(Text(item.value) if item.image is None else self._source(item.image, choice))
        return sources

    def _find_failing(self, arguments: schemas.CompareArguments, **sources: Sequence[Any]) -> None:
        """Raise the error of the first image that cannot be used, with its argument and index.

        Raises:
            InputError: The image's own.
        """
        for argument, items in sources.items():
            for index, item in enumerate(items):
                if not isinstance(item, Text):
                    with _locating(argument, index):
                        self.model.embed_images(item, window=arguments.window)


def _choose(
    arguments: schemas.ClassifyArguments | schemas.CompareArguments | schemas.SearchArguments | schemas.TagArguments,
) -> ImageChoice:
    check_choice(arguments.frame, arguments.select, arguments.pooling)
    return ImageChoice(frame=arguments.frame, select=arguments.select, pooling=arguments.pooling or DEFAULT_POOLING)


def _tagged_image(name: str, found: ImageTags | InputError) -> schemas.TaggedImage:
    if isinstance(found, InputError):
        return schemas.TaggedImage(image=name, error=schemas.ErrorDetail.of(found))
    return schemas.TaggedImage(
        image=name,
        present=sorted((tag for tag in found if found[tag].present), key=lambda tag: -found[tag].score),
        tags={
            tag: schemas.TagScore(
                score=rounded(result.score),
                threshold=rounded(result.threshold),
                present=result.present,
                cosine=None if result.cosine is None else rounded(result.cosine),
            )
            for tag, result in found.items()
        },
        cosine=None if found.cosine is None else rounded(found.cosine),
        unlike_validation=found.unlike_validation,
    )


def _highest(values: Sequence[float], count: int = 3) -> list[int]:
    """Return the indices of the highest values, highest first."""
    return sorted(range(len(values)), key=lambda index: -values[index])[:count]


@contextmanager
def _locating(argument: str, index: int) -> Iterator[None]:
    """Add an item's argument and index to its error."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{argument}[{index}]: {error.message}", code=error.code) from None


def _find(named: Mapping[str, Any], name: str | None, kind: str) -> Any:  # noqa: ANN401 - a store or a tagger
    """Return the store or tagger of this name.

    Raises:
        InputError: ``store_unknown`` or ``tagger_unknown``.
    """
    if name is None or name not in named:
        raise InputError(
            f"expected a {kind} of this server ({', '.join(named) or 'it has none'}), "
            f"got {'none' if name is None else repr(name)}: name one",
            code=f"{kind}_unknown",
        )
    return named[name]
