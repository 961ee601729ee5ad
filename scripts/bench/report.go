package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
)

// printConditions says under which conditions the tables came about.
func printConditions(w io.Writer, b bench) {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		release = []byte("of unknown release")
	}
	fmt.Fprintf(w, "%d processors, Linux %s, up to %d rounds in turns\n", runtime.NumCPU(), strings.TrimSpace(string(release)), b.rounds)
}

func printHeading(w io.Writer, b bench) { printColumns(w, "upstream "+b.upstream.release, b.ours.name) }

// printOverlayHeading leaves it to the rows to say what the reference is.
func printOverlayHeading(w io.Writer, b bench) { printColumns(w, "reference", b.ours.name) }

func printColumns(w io.Writer, reference, ours string) {
	columns := fmt.Sprintf("%6s %6s %6s", "min", "median", "p99")
	fmt.Fprintln(w)
	printLine(w, "", "", "", reference, ours, "", "")
	printLine(w, "", "", "", columns, columns, "ratio", "goal")
}

func printRows(w io.Writer, rows []Row) {
	for i, r := range rows {
		name := r.Case
		if i > 0 && rows[i-1].Case == name {
			name = ""
		}
		ratio := ""
		if len(r.Reference) > 0 {
			ratio = short(r.Ratio)
		}
		printLine(w, name, string(r.Verb), r.Unit, r.Reference.String(), r.Ours.String(), ratio, r.Goal.verdict(r.figure()))
	}
}

// figure is what the goal is for: the ratio, or the median where there is no reference.
func (r Row) figure() float64 {
	if len(r.Reference) == 0 {
		return r.Ours.median()
	}
	return r.Ratio
}

func printLine(w io.Writer, cells ...any) {
	text := fmt.Sprintf("%-34s %-4s %-4s%-20s   %-20s   %6s  %s", cells...)
	fmt.Fprintln(w, strings.TrimRight(text, " "))
}

// String is minimum, median and p99; a single value is its own median and has no others.
func (s Samples) String() string {
	switch len(s) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("%6s %6s %6s", "", short(s[0]), "")
	}
	return fmt.Sprintf("%6s %6s %6s", short(s.min()), short(s.median()), short(s.p99()))
}

// short writes two or three significant digits.
func short(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 0.1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

func writeJSON(path string, rows []Row) error {
	text, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
