"""AMF0 and AMF3, both ways: the serialisation that RTMP commands and data messages use."""
