// Renders templates with Go's own text/template and functions of confd's meaning: one case for each
// line of standard input, one answer for each on standard output.
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"
	"text/template"
	"time"

	"oracle/memkv"
)

type testCase struct {
	Text []byte            `json:"text"`
	Keys map[string]string `json:"keys"`
	Env  map[string]string `json:"env"`
	Data any               `json:"data"`
	// The moment.
	Seconds     int64 `json:"seconds"`
	Nanoseconds int64 `json:"nanoseconds"`
}

type answer struct {
	Output []byte `json:"output"`
	Error  []byte `json:"error"`
}

func functions(c *testCase) template.FuncMap {
	names := make([]string, 0, len(c.Keys))
	for key := range c.Keys {
		names = append(names, key)
	}
	sort.Strings(names)
	missing := func(key string) error { return errors.New("key does not exist: " + key) }
	gets := func(pattern string) (memkv.KVPairs, error) {
		pairs := memkv.KVPairs{}
		for _, key := range names {
			matched, err := path.Match(pattern, key)
			if err != nil {
				return nil, err
			}
			if matched {
				pairs = append(pairs, memkv.KVPair{Key: key, Value: c.Keys[key]})
			}
		}
		return pairs, nil
	}
	return template.FuncMap{
		"get": func(key string) (memkv.KVPair, error) {
			value, ok := c.Keys[key]
			if !ok {
				return memkv.KVPair{}, missing(key)
			}
			return memkv.KVPair{Key: key, Value: value}, nil
		},
		"getv": func(key string, more ...string) (string, error) {
			if value, ok := c.Keys[key]; ok {
				return value, nil
			}
			if len(more) > 0 {
				return more[0], nil
			}
			return "", missing(key)
		},
		"gets": gets,
		"getvs": func(pattern string) ([]string, error) {
			pairs, err := gets(pattern)
			if err != nil {
				return nil, err
			}
			values := []string{}
			for _, pair := range pairs {
				values = append(values, pair.Value)
			}
			sort.Strings(values)
			return values, nil
		},
		"exists": func(key string) bool { _, ok := c.Keys[key]; return ok },
		"getenv": func(name string, more ...string) string {
			if value := c.Env[name]; value != "" {
				return value
			}
			if len(more) > 0 {
				return more[0]
			}
			return ""
		},
		"datetime": func() time.Time {
			zone := time.FixedZone("CET", 3600)
			return time.Unix(c.Seconds, c.Nanoseconds).In(zone)
		},
		"reverse": func(values any) any {
			switch found := values.(type) {
			case []string:
				slices.Reverse(found)
			case []memkv.KVPair:
				slices.Reverse(found)
			}
			return values
		},
		"sortByLength": func(values []string) []string {
			slices.SortStableFunc(values, func(a, b string) int { return len(a) - len(b) })
			return values
		},
		"sortKVByLength": func(values []memkv.KVPair) []memkv.KVPair {
			slices.SortStableFunc(values, func(a, b memkv.KVPair) int { return len(a.Key) - len(b.Key) })
			return values
		},
		"base":         path.Base,
		"dir":          path.Dir,
		"split":        strings.Split,
		"join":         strings.Join,
		"toUpper":      strings.ToUpper,
		"toLower":      strings.ToLower,
		"contains":     strings.Contains,
		"replace":      strings.Replace,
		"trimSuffix":   strings.TrimSuffix,
		"parseBool":    strconv.ParseBool,
		"atoi":         strconv.Atoi,
		"base64Encode": func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) },
		"base64Decode": func(text string) (string, error) {
			bytes, err := base64.StdEncoding.DecodeString(text)
			return string(bytes), err
		},
		"json": func(text string) (map[string]any, error) {
			var value map[string]any
			err := json.Unmarshal([]byte(text), &value)
			return value, err
		},
		"jsonArray": func(text string) ([]any, error) {
			var value []any
			err := json.Unmarshal([]byte(text), &value)
			return value, err
		},
		"map": func(values ...any) (map[string]any, error) {
			if len(values)%2 != 0 {
				return nil, errors.New("invalid map call")
			}
			made := make(map[string]any, len(values)/2)
			for at := 0; at < len(values); at += 2 {
				key, ok := values[at].(string)
				if !ok {
					return nil, errors.New("map keys must be strings")
				}
				made[key] = values[at+1]
			}
			return made, nil
		},
		"add": func(a, b int) int { return a + b },
		"sub": func(a, b int) int { return a - b },
		"mul": func(a, b int) int { return a * b },
		"div": func(a, b int) int { return a / b },
		"mod": func(a, b int) int { return a % b },
		"seq": func(first, last int) []int {
			var numbers []int
			for number := first; number <= last; number++ {
				numbers = append(numbers, number)
			}
			return numbers
		},
	}
}

func render(c *testCase) answer {
	made, err := template.New("t").Funcs(functions(c)).Parse(string(c.Text))
	if err != nil {
		return answer{Error: []byte(err.Error())}
	}
	var output bytes.Buffer
	if err := made.Execute(&output, c.Data); err != nil {
		return answer{Error: []byte(err.Error())}
	}
	return answer{Output: output.Bytes()}
}

func main() {
	reader := bufio.NewReaderSize(os.Stdin, 1<<20)
	writer := bufio.NewWriter(os.Stdout)
	for {
		line, err := reader.ReadBytes('\n')
		if err != nil {
			return
		}
		var c testCase
		if err := json.Unmarshal(line, &c); err != nil {
			panic(err)
		}
		said, err := json.Marshal(render(&c))
		if err != nil {
			panic(err)
		}
		writer.Write(append(said, '\n'))
		writer.Flush()
	}
}
