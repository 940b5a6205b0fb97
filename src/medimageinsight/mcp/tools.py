"""The tools' work: names to files, the Python API, and answers; no protocol.

A failed image has its error in its place; what fails as a whole is raised.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from medimageinsight import images, search
from medimageinsight.errors import InputError
from medimageinsight.mcp import answers, write
from medimageinsight.mcp.images import Attached, readable
from medimageinsight.mcp.label_examples import find_label_examples
from medimageinsight.tasks import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from medimageinsight.api import MedImageInsight
    from medimageinsight.prompts import Labels
    from medimageinsight.search import Store
    from medimageinsight.tagging import Tagger

MAX_PICTURES = 8  # of an answer: a picture costs an agent about as much as a page of text


@dataclass(frozen=True, kw_only=True, eq=False)
class Tools:
    """What the tools work with.

    Args:
        model: Embeds what they are asked about; of every store and tagger too.
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

    def classify(
        self,
        names: Sequence[str],
        *,
        labels: Labels | None,
        template: str | Sequence[str] | None,
        store: str | None,
        label_column: str | None,
        k: int,
        where: str | None,
        frame: int,
        pictures: bool,
    ) -> answers.ToolResult:
        """Zero-shot with `labels`, or by the neighbours in a store whose labels stand in `label_column`."""
        if (labels is None) == (label_column is None):
            raise InputError(
                "expected either labels, or a store and its label_column, got both or neither", code="classify_what"
            )
        if labels is None:
            return self._by_neighbours(
                names, store=store, label=str(label_column), k=k, where=where, frame=frame, pictures=pictures
            )
        if store is not None or where is not None:
            raise InputError("expected store and where with label_column alone: leave them out", code="classify_what")
        chosen = list(labels)
        found = self._each(
            names,
            lambda paths: self.model.classify(paths, labels, template=template, errors="return", frame=frame),
        )
        return write.classified(
            names, [one if isinstance(one, InputError) else dict(zip(chosen, one, strict=True)) for one in found]
        )

    def _by_neighbours(
        self,
        names: Sequence[str],
        *,
        store: str | None,
        label: str,
        k: int,
        where: str | None,
        frame: int,
        pictures: bool,
    ) -> answers.ToolResult:
        opened = self._store(store)[1]
        attached = self._attached(pictures)
        found = self._each(
            names,
            lambda paths: search.classify(
                self.model, opened, paths, label=label, k=k, where=where, frame=frame, errors="return"
            ),
        )
        neighbours = [
            []
            if isinstance(one, InputError)
            else [
                answers.NeighbourAnswer(
                    **write.hit_fields(voter.hit, attached), label=voter.label, weight=write.number(voter.weight)
                )
                for voter in one.neighbours
            ]
            for one in found
        ]
        return write.classified(
            names,
            [one if isinstance(one, InputError) else one.probabilities for one in found],
            neighbours,
            attached.pictures,
        )

    def search(
        self,
        *,
        store: str | None,
        image: str | None,
        text: str | None,
        item_id: str | None,
        k: int,
        where: str | None,
        min_score: float | None,
        exclude_same: str | None,
        frame: int,
        pictures: bool,
    ) -> answers.ToolResult:
        """The images of a store that are nearest to one thing."""
        name, opened = self._store(store)
        attached = self._attached(pictures)
        hits = search.search(
            self.model,
            opened,
            image=None if image is None else readable(image, self.folders),
            text=text,
            item_id=item_id,
            k=k,
            where=where,
            min_score=min_score,
            exclude_same=exclude_same,
            frame=frame,
        )
        data = answers.SearchAnswer(
            store=name, hits=[answers.HitAnswer(**write.hit_fields(hit, attached)) for hit in hits]
        )
        lines = [f"{hit.score:.3f} {hit.id}{write.described(hit.metadata)}" for hit in data.hits]
        return answers.ToolResult(
            data=data,
            text=write.summary(
                f"{len(hits)} of {name}, best first:" if hits else f"nothing was found in {name}", lines
            ),
            pictures=attached.pictures,
        )

    def compare(self, a: Sequence[tuple[str, str]], b: Sequence[tuple[str, str]] | None) -> answers.ToolResult:
        """Cosines of images and texts, each given as ``("image", path)`` or ``("text", text)``."""
        rows = self._items("a", a)
        columns = None if b is None else self._items("b", b)
        try:
            matrix = self.model.compare(rows, columns)
        except InputError:
            self._find_failing(a=rows, b=columns or [])
            raise
        data = answers.CompareAnswer(
            rows=[name for _, name in a],
            columns=[name for _, name in (a if b is None else b)],
            similarity=[[write.number(one) for one in row] for row in matrix],
        )
        lines = [
            f"{row}: " + ", ".join(f"{data.columns[place]} {cosines[place]:.3f}" for place in _highest(cosines))
            for row, cosines in zip(data.rows, data.similarity, strict=True)
        ]
        return answers.ToolResult(data=data, text=write.summary("the most similar of each:", lines))

    def tag(
        self,
        names: Sequence[str],
        *,
        vocabulary: str | None,
        tagger: str | None,
        threshold: float | None,
        frame: int,
    ) -> answers.ToolResult:
        """Tags by a vocabulary or by one of the server's taggers."""
        if (vocabulary is None) == (tagger is None):
            raise InputError("expected either a vocabulary or a tagger, got both or neither", code="tagger_missing")
        tags = str(vocabulary) if tagger is None else _named(self.taggers, tagger, "tagger")
        found = self._each(
            names,
            lambda paths: self.model.tag(paths, tags, threshold=threshold, errors="return", frame=frame),
        )
        results = [
            answers.TaggedImage(image=name, error=write.failure(one))
            if isinstance(one, InputError)
            else answers.TaggedImage(
                image=name,
                present=sorted((tag for tag in one if one[tag].present), key=lambda tag: -one[tag].score),
                tags={
                    tag: answers.TagScore(
                        score=write.number(found.score), threshold=write.number(found.threshold), present=found.present
                    )
                    for tag, found in one.items()
                },
            )
            for name, one in zip(names, found, strict=True)
        ]
        lines = [
            f"{one.image}: {one.error.message if one.error else ', '.join(one.present) or 'none of the tags'}"
            for one in results
        ]
        return answers.ToolResult(
            data=answers.TagAnswer(results=results), text=write.summary("tags that are there:", lines)
        )

    def label_examples(self, *, query: str, modality: str, anatomy: str, limit: int) -> answers.ToolResult:
        """Example prompts in the form that the model was trained with."""
        data = find_label_examples(self.model.name, query=query, modality=modality, anatomy=anatomy, limit=limit)
        head = f"{data.total} examples, the form is: {data.form}"
        if not data.matched:
            head = f"nothing has a word of the query; examples of other things, the form is: {data.form}"
        return answers.ToolResult(
            data=data, text=write.summary(head, [one.prompt for one in data.examples], most=limit)
        )

    def _store(self, name: str | None) -> tuple[str, Store]:
        """The named store; the only one where none is named."""
        if name is None and len(self.stores) == 1:
            name = next(iter(self.stores))
        return str(name), _named(self.stores, name, "store")

    def _attached(self, wanted: bool) -> Attached:
        return Attached(folders=self.folders if wanted else (), most=MAX_PICTURES, limits=self.limits)

    def _each(self, names: Sequence[str], work: Callable[[list[Path]], Sequence[Any]]) -> list[Any]:
        """What the work gives for each file that may be read, and the error of each of the others, in order."""
        files: list[Path | InputError] = []
        for name in names:
            try:
                files.append(readable(name, self.folders))
            except InputError as error:
                files.append(error)
        paths = [one for one in files if not isinstance(one, InputError)]
        done = iter(work(paths) if paths else ())
        return [one if isinstance(one, InputError) else next(done) for one in files]

    def _items(self, side: str, items: Sequence[tuple[str, str]]) -> list[Any]:
        made: list[Any] = []
        for place, (kind, value) in enumerate(items):
            with _at(side, place):
                made.append(Text(value) if kind == "text" else readable(value, self.folders))
        return made

    def _find_failing(self, **sides: Sequence[Any]) -> None:
        """Raise the error of the first image that cannot be used, with its place.

        Raises:
            InputError: The image's own.
        """
        for side, items in sides.items():
            for place, item in enumerate(items):
                if not isinstance(item, Text):
                    with _at(side, place):
                        self.model.prepare_image(item)


def _highest(values: Sequence[float], most: int = 3) -> list[int]:
    """Places of the highest values, highest first."""
    return sorted(range(len(values)), key=lambda place: -values[place])[:most]


@contextmanager
def _at(side: str, place: int) -> Iterator[None]:
    """Name an item's place in its error."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{side}[{place}]: {error.message}", code=error.code) from None


def _named(there: Mapping[str, Any], name: str | None, what: str) -> Any:  # noqa: ANN401
    """The one of this name.

    Raises:
        InputError: ``store_unknown`` or ``tagger_unknown``.
    """
    if name is None or name not in there:
        raise InputError(
            f"expected a {what} of this server ({', '.join(there) or 'it has none'}), "
            f"got {'none' if name is None else repr(name)}: name one",
            code=f"{what}_unknown",
        )
    return there[name]
