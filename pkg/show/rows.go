package show

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"text/template"
)

// Row gives the fields of one line by the names that templates use. What is below hidden is for Label alone.
type Row map[string]string

// hidden begins the names of what is no field.
const hidden = "label "

// SetLabels sets what Label gives.
func (r Row) SetLabels(labels map[string]string) {
	for key, value := range labels {
		r[hidden+key] = value
	}
}

// Label is the value of a label, as {{.Label "key"}} in a template. Empty: there is none of that key.
func (r Row) Label(key string) string { return r[hidden+key] }

// MarshalJSON writes the fields.
func (r Row) MarshalJSON() ([]byte, error) {
	fields := make(map[string]string, len(r))
	for name, value := range r {
		if !strings.HasPrefix(name, hidden) {
			fields[name] = value
		}
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(fields)
	return b.Bytes(), err
}

// heading is the row above all others.
type heading map[string]string

// Label is the key itself.
func (heading) Label(key string) string { return key }

// Rows prints rows in one form.
type Rows struct {
	body   *template.Template
	header string // with tabs; empty: none
	json   bool
}

// table precedes a template for a table, as in Docker.
const table = "table"

// NewRows reads a form: "json" for an object per line, a template, or "table" before one. Without a template, columns
// say which fields there are in a table, and headings what is written above them and above those of a template.
func NewRows(form string, columns []string, headings map[string]string) (Rows, error) {
	if form == "json" {
		return Rows{json: true}, nil
	}
	text, isTable := strings.CutPrefix(form, table)
	if isTable = isTable && (text == "" || text[0] == ' ' || text[0] == '\t') || form == ""; !isTable {
		text = form
	}
	if text = strings.TrimSpace(text); text == "" {
		text = "{{." + strings.Join(columns, "}}\t{{.") + "}}"
	}
	body, err := parse(text)
	if err != nil {
		return Rows{}, err
	}
	r := Rows{body: body}
	var above strings.Builder
	err = body.Execute(&above, heading(headings))
	switch {
	case err == nil && isTable:
		r.header = above.String()
	case err == nil:
	case strings.Contains(err.Error(), "map has no entry for key"):
		fields := slices.Sorted(maps.Keys(headings))
		return Rows{}, fmt.Errorf("%w: the fields are %s", unusable(err), strings.Join(fields, ", "))
	case isTable:
		return Rows{}, unusable(err)
	}
	return r, nil
}

// Print writes the rows. A table is aligned; a template is not.
func (r Rows) Print(out io.Writer, rows []Row) error {
	if r.json {
		encoder := json.NewEncoder(out)
		encoder.SetEscapeHTML(false)
		for _, row := range rows {
			if err := encoder.Encode(row); err != nil {
				return err
			}
		}
		return nil
	}
	if r.header == "" {
		return r.lines(out, rows)
	}
	// Docker's table: columns of at least ten characters, three spaces between them.
	aligned := tabwriter.NewWriter(out, 10, 1, 3, ' ', 0)
	if _, err := fmt.Fprintln(aligned, r.header); err != nil {
		return err
	}
	if err := r.lines(aligned, rows); err != nil {
		return err
	}
	return aligned.Flush()
}

func (r Rows) lines(out io.Writer, rows []Row) error {
	for _, row := range rows {
		if err := r.body.Execute(out, row); err != nil {
			return unusable(err)
		}
		if _, err := fmt.Fprintln(out); err != nil {
			return err
		}
	}
	return nil
}
