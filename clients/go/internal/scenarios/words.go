package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// resolve is the same with "$name.field.0" replaced by what was saved.
func resolve(value any, saved object) (any, error) {
	switch value := value.(type) {
	case object:
		resolved := object{}
		for key, inner := range value {
			// The steps of a repeat are resolved one by one, when it is their turn.
			if key == "steps" {
				resolved[key] = inner
				continue
			}
			var err error
			if resolved[key], err = resolve(inner, saved); err != nil {
				return nil, err
			}
		}
		return resolved, nil
	case []any:
		resolved := make([]any, len(value))
		for i, inner := range value {
			var err error
			if resolved[i], err = resolve(inner, saved); err != nil {
				return nil, err
			}
		}
		return resolved, nil
	case string:
		if !strings.HasPrefix(value, "$") {
			return value, nil
		}
		return follow(value, saved)
	default:
		return value, nil
	}
}

func follow(reference string, saved object) (any, error) {
	found := any(saved)
	for part := range strings.SplitSeq(reference[1:], ".") {
		there := false
		switch at := found.(type) {
		case object:
			found, there = at[part]
		case []any:
			index, err := strconv.Atoi(part)
			if there = err == nil && index < len(at); there {
				found = at[index]
			}
		}
		if !there {
			return nil, fmt.Errorf("%s: there is no %s", reference, part)
		}
	}
	return found, nil
}

// number: 64 bit ones are text in JSON, and 0 is left out.
func number(value any) float64 {
	switch value := value.(type) {
	case float64:
		return value
	case string:
		n, _ := strconv.ParseFloat(value, 64)
		return n
	default:
		return 0
	}
}

var operators = map[string]func(wanted, value any) bool{
	"$absent":       func(wanted, value any) bool { return (value == nil) == wanted },
	"$present":      func(wanted, value any) bool { return (value != nil) == wanted },
	"$at_least":     func(wanted, value any) bool { return number(value) >= number(wanted) },
	"$at_most":      func(wanted, value any) bool { return number(value) <= number(wanted) },
	"$greater_than": func(wanted, value any) bool { return number(value) > number(wanted) },
	"$less_than":    func(wanted, value any) bool { return number(value) < number(wanted) },
	"$length":       func(wanted, value any) bool { items, _ := value.([]any); return float64(len(items)) == wanted },
}

// These two match in turn, which a variable that match itself reads must not say.
func init() {
	operators["$not"] = func(wanted, value any) bool { return match(wanted, value, "") != nil }
	operators["$contains"] = contains
}

func contains(wanted, value any) bool {
	if text, ok := value.(string); ok {
		part, ok := wanted.(string)
		return ok && strings.Contains(text, part)
	}
	items, _ := value.([]any)
	for _, item := range items {
		if match(wanted, item, "") == nil {
			return true
		}
	}
	return false
}

// match says what is not as it is wanted. Fields that are not named do not matter.
func match(wanted, value any, path string) error {
	switch wanted := wanted.(type) {
	case object:
		for key, inner := range wanted {
			if operator, ok := operators[key]; ok {
				if !operator(inner, value) {
					return fmt.Errorf("%s: wanted %s %s, got %s", path, key, short(inner), short(value))
				}
				continue
			}
			fields, ok := value.(object)
			if !ok {
				return fmt.Errorf("%s: wanted %s, got %s", path, short(wanted), short(value))
			}
			if err := match(inner, fields[key], path+"."+key); err != nil {
				return err
			}
		}
		return nil
	case []any:
		items, ok := value.([]any)
		if !ok && value != nil || len(items) != len(wanted) {
			return fmt.Errorf("%s: wanted %d items, got %s", path, len(wanted), short(value))
		}
		for i, inner := range wanted {
			if err := match(inner, items[i], fmt.Sprintf("%s.%d", path, i)); err != nil {
				return err
			}
		}
		return nil
	default:
		if !equal(wanted, value) {
			return fmt.Errorf("%s: wanted %s, got %s", path, short(wanted), short(value))
		}
		return nil
	}
}

func equal(wanted, value any) bool {
	if value == nil {
		return wanted == nil || wanted == 0.0 || wanted == "" || wanted == false
	}
	if n, ok := wanted.(float64); ok {
		if text, ok := value.(string); ok {
			return strconv.FormatFloat(n, 'f', -1, 64) == text
		}
	}
	return wanted == value
}

func short(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	if len(text) > 600 {
		return string(text[:600]) + "…"
	}
	return string(text)
}

// asJSON is a message as the scenarios see it: JSON with the names of the proto.
func asJSON(message proto.Message) object {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(message)
	if err != nil {
		panic(err)
	}
	var fields object
	if err := json.Unmarshal(text, &fields); err != nil {
		panic(err)
	}
	return fields
}
