package show

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/template"
)

// functions are those that Docker's templates have.
var functions = template.FuncMap{
	"json":     asJSON,
	"join":     strings.Join,
	"split":    strings.Split,
	"lower":    strings.ToLower,
	"upper":    strings.ToUpper,
	"title":    title,
	"println":  func(values ...any) string { return fmt.Sprintln(values...) },
	"pad":      pad,
	"truncate": truncate,
}

// parse reads a template. On the command line \t and \n stand for a tab and a new line, as the shell leaves them. A field
// that does not exist is an error, and so is a word: it is meant as the name of a format.
func parse(text string) (*template.Template, error) {
	if word := strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""; word && text != "" {
		return nil, fmt.Errorf("there is no format %q: give a Go template, such as '{{.Name}}'", text) // it would be printed for each row
	}
	text = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(text)
	parsed, err := template.New("format").Option("missingkey=error").Funcs(functions).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("the format cannot be read: %w", err)
	}
	return parsed, nil
}

// unusable is an error of a template that was executed, without what the library says of its place: it is short, and the
// user's own.
func unusable(err error) error {
	var failed template.ExecError
	if !errors.As(err, &failed) {
		return fmt.Errorf("format: %w", err)
	}
	text := failed.Error()
	if _, after, ok := strings.Cut(text, ` at <`); ok {
		text = "<" + after
	}
	return fmt.Errorf("the format cannot be used: %s", text)
}

// Objects prints whole objects.
type Objects struct {
	body *template.Template
	json bool
}

// NewObjects reads a form: "" for an indented JSON list of all, "json" for the same in one line, or a template for each.
func NewObjects(form string) (Objects, error) {
	if form == "" || form == "json" {
		return Objects{json: form == "json"}, nil
	}
	body, err := parse(form)
	return Objects{body: body}, err
}

// Print writes the objects. A template that cannot be used on an object gets its JSON instead, by the names that JSON has, as with
// Docker: both {{.ID}} and {{.Id}} are known.
func (o Objects) Print(out io.Writer, objects []any) error {
	if o.body == nil {
		return o.list(out, objects)
	}
	for _, object := range objects {
		var line bytes.Buffer
		if err := o.body.Execute(&line, object); err != nil {
			line.Reset()
			if o.executeRaw(&line, object) != nil {
				return unusable(err)
			}
		}
		line.WriteByte('\n')
		if _, err := out.Write(line.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// executeRaw takes the object as what is read of its JSON.
func (o Objects) executeRaw(line *bytes.Buffer, object any) error {
	text, err := json.Marshal(object)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var raw any
	if err := decoder.Decode(&raw); err != nil {
		return err
	}
	return o.body.Execute(line, raw)
}

func (o Objects) list(out io.Writer, objects []any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	if !o.json {
		encoder.SetIndent("", "    ")
	}
	if objects == nil {
		objects = []any{}
	}
	return encoder.Encode(objects)
}

func asJSON(value any) (string, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return strings.TrimSpace(b.String()), err
}

func title(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

func pad(text string, before, after int) string {
	if text == "" {
		return ""
	}
	return strings.Repeat(" ", before) + text + strings.Repeat(" ", after)
}

func truncate(text string, most int) string {
	runes := []rune(text)
	return string(runes[:min(len(runes), max(most, 0))])
}
