package portal

import (
	"encoding/json"
	"io"

	"github.com/danielgtaylor/huma/v2"

	"github.com/leasehold/leasehold/capability/web"
)

func jsonFormat() huma.Format {
	return huma.Format{
		Marshal: func(w io.Writer, v any) error {
			e := json.NewEncoder(w)
			e.SetEscapeHTML(false)
			return e.Encode(v)
		},
		Unmarshal: func(b []byte, v any) error {
			if err := json.Unmarshal(b, v); err != nil {
				return err
			}
			return web.NamesOnce(b)
		},
	}
}

func cborFormat() huma.Format {
	return huma.Format{
		Marshal: func(w io.Writer, v any) error {
			b, err := web.ToCBOR(v)
			if err == nil {
				_, err = w.Write(b)
			}
			return err
		},
		Unmarshal: func(b []byte, v any) error {
			text, err := web.FromCBOR(b)
			if err != nil {
				return err
			}
			return json.Unmarshal(text, v)
		},
	}
}
