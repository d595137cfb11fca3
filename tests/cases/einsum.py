"""Rows of sums of products in Einstein's notation."""

from functools import partial

import torch

from blockprop import blocks
from tests.cases.case import Case

CASES: list[Case] = [
    *[
        Case(
            partial(blocks.Einsum, equation),
            shapes,
            lambda b, *x: torch.einsum(b.equation, *x),
            wrong=wrong,
            batch=batch,
            title=f"Einsum, {equation or 'nothing'}, {' '.join(map(str, shapes))}",
        )
        for equation, shapes, wrong, batch in (
            ("ij,jk->ik", ((2, 3), (3, 4)), ((2, 3), (4, 4)), None),
            ("ij, jk", ((2, 3), (3, 2)), ((2, 3),), None),
            ("nij,njk->nik", ((2, 3, 2), (2, 2, 3)), ((2, 3, 2), (3, 2, 3)), 0),
            ("nhqd,nhkd->nhqk", ((2, 2, 3, 2), (2, 2, 2, 2)), ((2, 2, 3), (2, 2, 2, 2)), 0),
            ("b...i,oi->b...o", ((2, 3, 2, 2), (3, 2)), ((2, 2), (3, 3)), None),
            ("...i,...i", ((2, 3, 2), (2, 1, 2)), ((2, 3, 2), (2, 2, 2)), 0),
            ("...ij,...jk->...ki", ((2, 2, 3), (3, 1, 3, 2)), ((2, 2, 3), (3, 3, 3, 2)), None),
            ("ba", ((2, 3),), ((2, 3, 1),), None),
            ("ni->n", ((2, 3),), ((2,),), 0),
            ("nij->nj", ((2, 3, 2),), None, 0),
            ("i...->", ((2, 3),), ((),), None),
            ("...->...", ((2, 3),), None, 0),
            ("...a->a...", ((2, 3, 2),), ((),), None),
            ("nii->ni", ((2, 3, 3),), ((2, 3, 2),), 0),
            ("ii", ((3, 3),), ((1, 3),), None),
            ("nii,ni->n", ((2, 3, 3), (2, 3)), ((2, 3, 3), (2, 4)), 0),
            ("iji,kj->ik", ((2, 3, 2), (2, 3)), None, None),
            ("iii,i->i", ((2, 2, 2), (2,)), None, None),
            ("iijj->ji", ((2, 2, 3, 3),), None, None),
            ("ij,ij->ij", ((2, 3), (1, 3)), ((2, 3), (3, 3)), None),
            ("ij,ij->", ((2, 1), (1, 3)), None, None),
            ("ni,nj,nk->nijk", ((2, 2), (2, 3), (2, 2)), ((2, 2), (2, 3)), 0),
            ("ij,kl,m->ik", ((2, 3), (2, 2), (3,)), None, None),
            ("ab,bc,cd,db->a", ((2, 3), (3, 2), (2, 2), (2, 3)), None, None),
            ("i,->i", ((3,), ()), ((3,), (1,)), None),
            ("aB->", ((2, 3),), None, None),
            ("i,i,i->", ((3,), (1,), (3,)), None, None),
            ("", ((),), ((1,),), None),
        )
    ],
]
