package netconf

import (
	"encoding/json"
	"reflect"
	"testing"
)

func TestBlank(t *testing.T) {
	path := []string{"runtimeConfig", "portMappings"}
	for text, want := range map[string]string{
		`{"name":"n","runtimeConfig":{"ips":["x"],"portMappings":[{"a":"}]\\"},2],"mac":"m"},"z":1}`: `{"name":"n","runtimeConfig":{"ips":["x"],"portMappings":null,"mac":"m"},"z":1}`,
		` { "RUNTIMEconfig" : { "portmappings" : "a\"b" } } `:                                        ` { "RUNTIMEconfig" : { "portmappings" : null } } `,
		`{"runtimeConfig":{"portMappings":12}}`:                                                      `{"runtimeConfig":{"portMappings":null}}`,
		`{"runtimeConfig":{"portMappings":-1.5e3 ,"b":{}}}`:                                          `{"runtimeConfig":{"portMappings":null ,"b":{}}}`,
		`{"x":{"runtimeConfig":{"portMappings":1}},"runtimeConfig":{}}`:                              `{"x":{"runtimeConfig":{"portMappings":1}},"runtimeConfig":{}}`,
		`{"runtimeConfig":null}`:                                                                     `{"runtimeConfig":null}`,
		`{}`:                                                                                         `{}`,
		`[]`:                                                                                         `[]`,
		``:                                                                                           ``,
		`{"runtimeConfig":{"portMappings`:                                                            `{"runtimeConfig":{"portMappings`,
		`{"runtimeConfig":{"portMappings":[1`:                                                        `{"runtimeConfig":{"portMappings":[1`,
	} {
		if got := string(Blank([]byte(text), path...)); got != want {
			t.Errorf("of %s\nthere is left %s\nnot           %s", text, got, want)
		}
	}
}

// FuzzBlank holds what is left of any JSON against the same with the value taken out once it is read.
func FuzzBlank(f *testing.F) {
	f.Add(`{"a":{"b":[1,{"c":"\\\"}"}],"d":true},"e":null}`)
	f.Add(`{"a":{"x":"\u0061","b":{}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		left := Blank([]byte(text), "a", "b")
		var want, got map[string]any
		if json.Unmarshal([]byte(text), &want) != nil {
			return // it must not panic
		}
		if err := json.Unmarshal(left, &got); err != nil {
			t.Fatalf("%s: of %s is left %s", err, text, left)
		}
		if string(left) == text {
			return
		}
		for _, all := range []map[string]any{want, got} {
			for key, value := range all {
				if inner, ok := value.(map[string]any); ok && foldsTo(key, "a") {
					for key := range inner {
						if foldsTo(key, "b") {
							delete(inner, key)
						}
					}
				}
			}
		}
		if !reflect.DeepEqual(want, got) {
			t.Errorf("of %s is left %s", text, left)
		}
	})
}

func foldsTo(key, lower string) bool {
	return key == lower || len(key) == 1 && key[0]+'a'-'A' == lower[0]
}
