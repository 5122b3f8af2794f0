"""Which photographs there are; bytes to RGB arrays or typed rejections."""
