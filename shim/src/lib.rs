//! librelink.so
