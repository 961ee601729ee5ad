package blueprint

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
)

// plugin is a plugin's configuration: its type first, then its keys in the order of the alphabet.
type plugin struct {
	kind string
	keys map[string]any
}

// MarshalJSON writes the keys after the type, for people who read the file.
func (p plugin) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	b.WriteString(`{"type":`)
	if err := encoder.Encode(p.kind); err != nil {
		return nil, err
	}
	for _, key := range slices.Sorted(maps.Keys(p.keys)) {
		b.WriteByte(',')
		if err := encoder.Encode(key); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := encoder.Encode(p.keys[key]); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}
