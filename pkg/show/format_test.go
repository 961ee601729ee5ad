package show

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

type thing struct {
	Name   string
	Labels map[string]string
}

func TestObjects(t *testing.T) {
	objects := []any{thing{"a", map[string]string{"k": "<v>"}}, thing{"b", nil}}
	for form, want := range map[string]string{
		"json":                     `[{"Name":"a","Labels":{"k":"<v>"}},{"Name":"b","Labels":null}]` + "\n",
		"{{.Name}}":                "a\nb\n",
		"{{json .Labels}}":         "{\"k\":\"<v>\"}\nnull\n",
		`{{.Name}}\t{{len .Name}}`: "a\t1\nb\t1\n",
	} {
		if got := objectsPrinted(t, form, objects); got != want {
			t.Errorf("%s: got %q, want %q", form, got, want)
		}
	}
	want := "[\n    {\n        \"Name\": \"b\",\n        \"Labels\": null\n    }\n]\n"
	if diff := cmp.Diff(want, objectsPrinted(t, "", objects[1:])); diff != "" {
		t.Errorf("without a form (-want +got):\n%s", diff)
	}
	if got := objectsPrinted(t, "", nil); got != "[]\n" {
		t.Errorf("no object: got %q", got)
	}
}

func objectsPrinted(t *testing.T, form string, objects []any) string {
	t.Helper()
	o, err := NewObjects(form)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := o.Print(&out, objects); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestWords: what looks like the name of a format and is none is not printed for each row.
func TestWords(t *testing.T) {
	for _, form := range []string{"wide", "JSON", "tablex", "yaml", "table wide"} {
		if _, err := NewRows(form, []string{"Name"}, map[string]string{"Name": "NAME"}); err == nil || !strings.Contains(err.Error(), "there is no format") {
			t.Errorf("rows as %q: %v", form, err)
		}
	}
	if _, err := NewObjects("wide"); err == nil {
		t.Error("objects as wide: no error")
	}
}

func TestFunctions(t *testing.T) {
	for form, want := range map[string]string{
		`{{upper .Name}} {{lower .Name}} {{title .Name}}`: "WEB Ö web ö Web ö",
		`{{pad .Name 1 2}}|{{truncate .Name 2}}`:          " web ö  |we",
		`{{truncate .Name 99}}{{truncate .Name -1}}`:      "web ö",
		`{{join (split .Name " ") "-"}}`:                  "web-ö",
	} {
		got := objectsPrinted(t, form, []any{thing{Name: "web ö"}})
		if got != want+"\n" {
			t.Errorf("%s: got %q, want %q", form, got, want)
		}
	}
}

func TestUnusable(t *testing.T) {
	headings := map[string]string{"ID": "NETWORK ID", "Name": "NAME"}
	for form, want := range map[string]string{
		"{{.Size}}":               `the format cannot be used: <.Size>: map has no entry for key "Size": the fields are ID, Name`,
		"table {{.Name}} {{.No}}": `the format cannot be used: <.No>: map has no entry for key "No": the fields are ID, Name`,
		"{{.Name":                 "the format cannot be read: template: format:1: unclosed action",
	} {
		if _, err := NewRows(form, nil, headings); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", form, err, want)
		}
	}
	// What depends on the rows shows when they are printed.
	rows, err := NewRows("{{slice .Name 0 4}}", nil, headings)
	if err != nil {
		t.Fatal(err)
	}
	const want = "the format cannot be used: <slice .Name 0 4>: error calling slice: index out of range: 4"
	if err := rows.Print(io.Discard, []Row{{"Name": "db"}}); err == nil || err.Error() != want {
		t.Errorf("rows: got %v, want %s", err, want)
	}
	objects, err := NewObjects("{{.Size}}")
	if err != nil {
		t.Fatal(err)
	}
	if err := objects.Print(io.Discard, []any{thing{}}); err == nil ||
		err.Error() != "the format cannot be used: <.Size>: can't evaluate field Size in type show.thing" {
		t.Errorf("objects: got %v", err)
	}
}

// full is a device on which nothing can be written.
type full struct{}

var errFull = errors.New("no space left")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestPrintSaysThatNothingWasWritten(t *testing.T) {
	row := []Row{{"Name": "a"}}
	for _, form := range []string{"", "json", "{{.Name}}"} {
		rows, err := NewRows(form, []string{"Name"}, map[string]string{"Name": "NAME"})
		if err != nil {
			t.Fatal(err)
		}
		if err := rows.Print(full{}, row); !errors.Is(err, errFull) {
			t.Errorf("rows %q: got %v, want %v", form, err, errFull)
		}
		objects, err := NewObjects(form)
		if err != nil {
			t.Fatal(err)
		}
		if err := objects.Print(full{}, []any{row[0]}); !errors.Is(err, errFull) {
			t.Errorf("objects %q: got %v, want %v", form, err, errFull)
		}
	}
}

// TestColour: a terminal gets colours, unless it or its user want none.
func TestColour(t *testing.T) {
	_, line := testnet.Terminal(t)
	for _, test := range []struct {
		term, noColour string
		want           bool
	}{{"xterm", "", true}, {"xterm", "1", false}, {"xterm", "0", false}, {"dumb", "", false}} {
		t.Setenv("TERM", test.term)
		t.Setenv("NO_COLOR", test.noColour)
		if got := Colour(line); got != test.want {
			t.Errorf("TERM=%s NO_COLOR=%s: got %v", test.term, test.noColour, got)
		}
	}
	if got := Bold("x", true); got != "\x1b[1mx\x1b[0m" {
		t.Errorf("Bold: got %q", got)
	}
}

func TestNoColourWhenPiped(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if Colour(w) {
		t.Error("a pipe gets colours")
	}
	if got := Bold("x", false); got != "x" {
		t.Errorf("Bold without colour: got %q", got)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(r); err != nil || len(rest) != 0 {
		t.Errorf("written: %q, %v", rest, err)
	}
}
