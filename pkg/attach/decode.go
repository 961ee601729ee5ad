package attach

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Decode reads a network configuration into conf. Its errors name the key, and have CNI code 6.
func Decode(stdin []byte, conf any) error {
	err := json.Unmarshal(stdin, conf)
	var wrong *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong) && wrong.Field == "":
		return fmt.Errorf("network configuration is a JSON %s: give an object%.0w", wrong.Value, err)
	case errors.As(err, &wrong):
		return fmt.Errorf("key %s is a JSON %s: give %s%.0w", wrong.Field, wrong.Value, jsonType(wrong.Type.Kind().String()), err)
	case errors.As(err, &syntax):
		return fmt.Errorf("network configuration is not JSON at byte %d: %w", syntax.Offset, err)
	}
	return fmt.Errorf("network configuration: %w", err)
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
