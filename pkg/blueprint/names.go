package blueprint

import (
	"fmt"
	"strconv"
)

// Options about names, in each driver of ours.
const (
	optionNames = "names"       // false: containers do not find each other by name
	optionHost  = "hostGateway" // true: they find the host as host.docker.internal
)

// addNames adds the key names, by which containers find each other by name, unless the options say otherwise.
func (d *draft) addNames(keys map[string]any) error {
	wanted, err := d.isSet(optionNames, true)
	if err != nil {
		return err
	}
	host, err := d.isSet(optionHost, false)
	if err != nil || !wanted {
		return err
	}
	names := map[string]bool{}
	if host {
		names["host"] = true
	}
	keys["names"] = names
	return nil
}

// isSet reads an option that is true or false.
func (d *draft) isSet(option string, unless bool) (bool, error) {
	value, given := d.options[option]
	if !given {
		return unless, nil
	}
	set, err := strconv.ParseBool(value)
	if err != nil {
		return false, fmt.Errorf("option %s: %q is neither true nor false", option, value)
	}
	return set, nil
}
