package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlot draws rows as they come back from JSON: each that is held against something has a bar, in order, within the picture.
func TestPlot(t *testing.T) {
	rows := []Row{
		{Case: "bridge <b>", Verb: add, Unit: milliseconds, Reference: Samples{10}, Ours: Samples{4}, Ratio: 0.4, Goal: atMost(0.5)},
		{Case: "alone", Verb: makeAll, Unit: milliseconds, Ours: Samples{20}, Goal: atMost(100)},
		{Case: "in flight", Verb: add, Unit: perSecond, Reference: Samples{57}, Ours: Samples{1000}, Ratio: 17, Goal: atLeast(20)},
		{Case: "tiny", Verb: del, Unit: milliseconds, Reference: Samples{1000}, Ours: Samples{1}, Ratio: 0.001},
	}
	dir := t.TempDir()
	text, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	from, to := filepath.Join(dir, "rows.json"), filepath.Join(dir, "rows.svg")
	if err := os.WriteFile(from, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := replot(from, to); err != nil {
		t.Fatal(err)
	}
	drawn, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	var bars, texts []string
	decoder := xml.NewDecoder(strings.NewReader(string(drawn)))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("no XML: %v\n%s", err, drawn)
		}
		switch e := token.(type) {
		case xml.StartElement:
			if e.Name.Local == "rect" {
				bars = append(bars, e.Attr[0].Value)
			}
		case xml.CharData:
			texts = append(texts, string(e))
		}
	}
	if got, want := strings.Join(bars, " "), "met missed bar"; got != want {
		t.Errorf("bars are %s, not %s", got, want)
	}
	all := strings.Join(texts, "\n")
	for _, want := range []string{"bridge <b> ADD", "0.40 ≤ 0.5   met", "in flight ADD", "17.0 ≥ 20    missed", "tiny DEL"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not in\n%s", want, all)
		}
	}
	if strings.Contains(all, "alone") {
		t.Error("a row without a reference is drawn")
	}
}
