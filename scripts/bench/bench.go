package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
)

// Row is one line of a table.
type Row struct {
	Case string `json:"case"`
	Verb verb   `json:"verb"`
	Unit string `json:"unit"`
	// Reference is what fairway is held against: upstream's plugins in the first table. Empty: nothing, and the goal is one for
	// the median.
	Reference Samples `json:"reference,omitempty"`
	Ours      Samples `json:"fairway"`
	// Ratio is that of the medians, fairway to the reference; in a row of Growth it is fairway's own growth.
	Ratio float64 `json:"ratio,omitempty"`
	Goal  Goal    `json:"goal"`
}

// measurement is what gives some rows. It is selected by its name.
type measurement struct {
	name string
	rows func(context.Context) ([]Row, error)
}

// bench runs measurements.
type bench struct {
	upstream, ours suite
	scratch        string
	rounds         int
}

// run prints the rows of each measurement as soon as it was run, below a heading. One that fails is reported among the
// errors, and the others go on.
func (b bench) run(ctx context.Context, w io.Writer, heading func(io.Writer, bench), list []measurement) (rows []Row, err error) {
	if len(list) > 0 {
		heading(w, b)
	}
	for _, m := range list {
		if ctx.Err() != nil {
			return rows, errors.Join(err, ctx.Err())
		}
		measured, failure := m.rows(ctx)
		if failure != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", m.name, failure))
			continue
		}
		rows = append(rows, measured...)
		printRows(w, measured)
	}
	return rows, err
}

// selected is the measurements whose names match.
func selected(list []measurement, only *regexp.Regexp) (some []measurement) {
	for _, m := range list {
		if only.MatchString(m.name) {
			some = append(some, m)
		}
	}
	return some
}

// tables prints fairway beside upstream, and then the overlay, which upstream does not have.
func (b bench) tables(ctx context.Context, w io.Writer, only *regexp.Regexp) ([]Row, error) {
	printConditions(w, b)
	rows, err := b.run(ctx, w, printHeading, selected(b.besideUpstream(), only))
	grown := growth(rows)
	printRows(w, grown)
	more, failure := b.run(ctx, w, printOverlayHeading, selected(b.ofOverlay(), only))
	err = errors.Join(err, failure)
	names, failure := b.run(ctx, w, printOverlayHeading, selected(b.ofNames(), only))
	err = errors.Join(err, failure)
	commands, failure := b.run(ctx, w, printOverlayHeading, selected(b.ofCommands(), only))
	err = errors.Join(err, failure)
	ports, failure := b.run(ctx, w, printOverlayHeading, selected(b.ofPorts(), only))
	return slices.Concat(rows, grown, more, names, commands, ports), errors.Join(err, failure)
}

func (b bench) besideUpstream() []measurement {
	list := []measurement{{startCase, b.starts}}
	for _, c := range cases() {
		list = append(list, measurement{c.Name, func(ctx context.Context) ([]Row, error) {
			return b.measure(ctx, entrant{b.upstream, c}, entrant{b.ours, c})
		}})
	}
	return append(list, b.byBridgeAlone())
}

// entrant is a suite with the case it is measured in.
type entrant struct {
	suite
	Case
}

// measure lets fairway run a case beside a reference.
func (b bench) measure(ctx context.Context, reference, ours entrant) (rows []Row, err error) {
	c := ours.Case
	rounds := b.rounds
	if c.Rounds != 0 {
		rounds = min(rounds, c.Rounds)
	}
	var beds [2]*bed
	for i, e := range []entrant{reference, ours} {
		bed, err := openBed(ctx, e, b.scratch, rounds)
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
		r.Reference = append(r.Reference, sample(laps[0][i]))
		r.Ours = append(r.Ours, sample(laps[1][i]))
	}
	r.Ratio = r.Ours.median() / r.Reference.median()
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
			Reference: Samples{over.Reference.median() / base.Reference.median()}, Ours: Samples{ours}})
	}
	return grown
}
