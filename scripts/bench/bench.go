package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
)

// Row is one line of the table.
type Row struct {
	Case     string  `json:"case"`
	Verb     verb    `json:"verb"`
	Unit     string  `json:"unit"`
	Upstream Samples `json:"upstream"`
	Ours     Samples `json:"fairway"`
	// Ratio is that of the medians, fairway to upstream; in a row of Growth it is fairway's own growth.
	Ratio float64 `json:"ratio"`
	Goal  Goal    `json:"goal"`
}

// bench runs cases for two suites.
type bench struct {
	upstream, ours suite
	scratch        string
	rounds         int
}

// table prints each case as soon as it was run. A case that fails is reported among the errors, and the others go on.
func (b bench) table(ctx context.Context, w io.Writer, only *regexp.Regexp) (rows []Row, err error) {
	printHeading(w, b)
	for _, c := range cases() {
		if ctx.Err() != nil || !only.MatchString(c.Name) {
			continue
		}
		measured, failure := b.measure(ctx, c)
		if failure != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", c.Name, failure))
			continue
		}
		rows = append(rows, measured...)
		printRows(w, measured)
	}
	grown := growth(rows)
	printRows(w, grown)
	return append(rows, grown...), errors.Join(err, ctx.Err())
}

func (b bench) measure(ctx context.Context, c Case) (rows []Row, err error) {
	rounds := b.rounds
	if c.Rounds != 0 {
		rounds = min(rounds, c.Rounds)
	}
	var beds [2]*bed
	for i, s := range []suite{b.upstream, b.ours} {
		bed, err := openBed(ctx, s, c, b.scratch, rounds)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, bed.close()) }()
		beds[i] = bed
	}
	laps, err := takeTurns(ctx, beds, rounds)
	if err != nil {
		return nil, err
	}
	return []Row{
		newRow(c, add, c.Add, laps, func(l lap) float64 { return c.sample(l.add) }),
		newRow(c, del, c.Del, laps, func(l lap) float64 { return c.sample(l.del) }),
	}, nil
}

// takeTurns lets the two begin alternately, so that neither is always the one that finds the kernel busy with the other's
// remains.
func takeTurns(ctx context.Context, beds [2]*bed, rounds int) (laps [2][]lap, err error) {
	for i := range rounds {
		for _, turn := range []int{i % 2, 1 - i%2} {
			l, err := beds[turn].round(ctx)
			if err == nil {
				err = beds[turn].leaks()
			}
			if err != nil {
				return laps, err
			}
			laps[turn] = append(laps[turn], l)
		}
	}
	return laps, nil
}

func newRow(c Case, v verb, goal Goal, laps [2][]lap, sample func(lap) float64) Row {
	r := Row{Case: c.Name, Verb: v, Unit: c.unit(), Goal: goal}
	for i := range laps[0] {
		r.Upstream = append(r.Upstream, sample(laps[0][i]))
		r.Ours = append(r.Ours, sample(laps[1][i]))
	}
	r.Ratio = r.Ours.median() / r.Upstream.median()
	return r
}

// growth holds two cases of the same suite against each other, where both were run.
func growth(rows []Row) []Row {
	adds := map[string]Row{}
	for _, r := range rows {
		if r.Verb == add {
			adds[r.Case] = r
		}
	}
	var grown []Row
	for _, g := range growths() {
		base, ok := adds[g.Base]
		over, also := adds[g.Over]
		if !ok || !also {
			continue
		}
		ours := over.Ours.median() / base.Ours.median()
		grown = append(grown, Row{Case: g.Name, Verb: add, Unit: times, Goal: g.Add, Ratio: ours,
			Upstream: Samples{over.Upstream.median() / base.Upstream.median()}, Ours: Samples{ours}})
	}
	return grown
}
