package conflist

import (
	"encoding/json"
	"errors"
	"fmt"
)

// templateEnding is that of a configuration which is no network: no runtime reads such a file.
const templateEnding = ".config-only"

func readTemplate(path string) (Network, error) {
	content, err := readFile(path)
	if err != nil {
		return Network{}, err
	}
	n, err := parseTemplate(content)
	if err != nil {
		return Network{}, fmt.Errorf("%s: %w", path, err)
	}
	n.File = path
	return n, nil
}

func parseTemplate(content []byte) (Network, error) {
	var f file
	if err := json.Unmarshal(content, &f); err != nil {
		return Network{}, err
	}
	if err := CheckName(f.Name); err != nil {
		return Network{}, err
	}
	if f.Fairway == nil || !f.Fairway.ConfigOnly {
		return Network{}, errors.New(`its object "fairway" has no "configOnly": true`)
	}
	n := Network{Name: f.Name, ID: f.id(), Driver: "null", Scope: "local", ConfigOnly: true, IPAM: IPAM{Driver: "default"}}
	n.readTop(f)
	return n, nil
}
