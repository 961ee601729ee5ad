package main

import (
	"bytes"
	"encoding/json"

	"github.com/fairway-cni/fairway/pkg/attach"
)

// sysctls are kernel parameters in the order of the configuration, by which one may be set before another that depends on it.
type sysctls []struct{ key, value string }

// UnmarshalJSON reads an object, and refuses one that has a key twice, as upstream does.
func (s *sysctls) UnmarshalJSON(text []byte) error {
	var values map[string]string
	if err := json.Unmarshal(text, &values); err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	if _, err := decoder.Token(); err != nil || values == nil {
		return err // null
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err == nil {
			_, err = decoder.Token()
		}
		if err != nil {
			return err
		}
		name := key.(string) // keys of an object are strings
		if s.has(name) {
			return attach.Invalidf("key sysctl has %q twice: remove one", name)
		}
		s.set(name, values[name])
	}
	return nil
}

func (s *sysctls) has(key string) bool {
	for _, e := range *s {
		if e.key == key {
			return true
		}
	}
	return false
}

// set sets a parameter, in its place if it has one.
func (s *sysctls) set(key, value string) {
	for i, e := range *s {
		if e.key == key {
			(*s)[i].value = value
			return
		}
	}
	*s = append(*s, struct{ key, value string }{key, value})
}
