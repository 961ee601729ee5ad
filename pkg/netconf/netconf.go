// Package netconf reads the network configuration that CNI plugins get on standard input. It is pure.
package netconf

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fairway-cni/fairway/pkg/failure"
)

// Decode reads a network configuration into conf. Its errors name the key, and wrap those of encoding/json.
func Decode(stdin []byte, conf any) error { return explain(json.Unmarshal(stdin, conf)) }

// DecodeAt reads the value of one key, which was left as it stands. Its errors are those that Decode would have. What a plugin seldom
// gets is better read so: to learn what a struct consists of takes encoding/json longer than to read it.
func DecodeAt(path string, value json.RawMessage, into any) error {
	if len(value) == 0 {
		return nil
	}
	err := json.Unmarshal(value, into)
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		wrong.Field = strings.TrimSuffix(path+"."+wrong.Field, ".")
	}
	return explain(err)
}

func explain(err error) error {
	var wrong *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong) && wrong.Field == "":
		return failure.Of(err, "network configuration is a JSON %s: give an object", wrong.Value)
	case errors.As(err, &wrong):
		return failure.Of(err, "key %s is a JSON %s: give %s", key(wrong.Field), wrong.Value, jsonType(wrong.Type.Kind().String()))
	case errors.As(err, &syntax):
		return fmt.Errorf("network configuration is not JSON at byte %d: %w", syntax.Offset, err)
	}
	return fmt.Errorf("network configuration: %w", err)
}

// key is a path of keys without the names of embedded structs, which encoding/json has in it (Go 1.24). No key of a
// network configuration begins with a capital letter.
func key(path string) string {
	parts := strings.Split(path, ".")
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p != "" && 'A' <= p[0] && p[0] <= 'Z' }), ".")
}

// jsonType names the JSON type that a Go kind is read from.
func jsonType(kind string) string {
	switch {
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		return "a whole number"
	case kind == "bool":
		return "true or false"
	case kind == "string":
		return "a string"
	case kind == "slice", kind == "array":
		return "a list"
	}
	return "an object"
}
